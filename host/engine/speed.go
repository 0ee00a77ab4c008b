package engine

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/quarry-hn/quarry/plugin/message"
	"github.com/quarry-hn/quarry/plugin/pca"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// speed is an engine's speed, measured once.
type speed struct {
	mutex     sync.Mutex
	perSecond float64
}

func (s *speed) measured(ctx context.Context, e Engine) (float64, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.perSecond > 0 {
		return s.perSecond, nil
	}
	perSecond, err := measureSpeed(ctx, e)
	s.perSecond = perSecond
	return perSecond, err
}

// What measureSpeed projects: rows of that many columns onto that many components.
const (
	speedColumns    = 256
	speedComponents = 128
	speedRows       = 256
)

// measureSpeed returns how many multiply-adds a second an instance of an engine makes when it projects. Screening makes about as many. It takes a few milliseconds, or a few tenths of a second where the module is interpreted.
func measureSpeed(ctx context.Context, e Engine) (perSecond float64, err error) {
	i, err := e.Open(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = i.Close(context.WithoutCancel(ctx)) }() // it is of no more use
	random := rand.New(rand.NewPCG(1, 2))
	values := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = random.Float32() - 0.5
		}
		return v
	}
	p := &pca.Projection{
		Models: []pca.Model{{Name: "m", Width: speedColumns, Weight: 1}}, Normalize: true, Center: true,
		Mean: values(speedColumns), Components: values(speedComponents * speedColumns), Variances: make([]float64, speedComponents),
		PCA: "components=" + strconv.Itoa(speedComponents), FitOn: "docs", TotalVariance: 1, CapturedVariance: 1,
	}
	file, err := p.Marshal()
	if err != nil {
		return 0, err
	}
	client := Client{i}
	if err := client.LoadProjection(ctx, file); err != nil {
		return 0, fmt.Errorf("measure the engine's speed: %w", err)
	}
	// The first calls find the processor's caches cold, so the best of all counts. Each size is greater than the one before, until a call takes
	// long enough for the clock. Where it does, the thread may only have lost its core, so the call is made again.
	const enough, tries = 500 * time.Microsecond, 5
	for rows := 1; ; rows = min(4*rows, speedRows) {
		least := time.Duration(math.MaxInt64)
		for try := 0; try < tries && least >= enough; try++ {
			took, err := timeTransform(ctx, client, p, values(rows*speedColumns))
			if err != nil {
				return 0, fmt.Errorf("measure the engine's speed: %w", err)
			}
			least = min(least, took)
		}
		perSecond = max(perSecond, float64(rows*speedColumns*speedComponents)/max(least.Seconds(), 1e-9))
		if least >= enough || rows == speedRows {
			return perSecond, nil
		}
	}
}

// timeTransform projects rows of speedColumns values, and says how long that took.
func timeTransform(ctx context.Context, c Client, p *pca.Projection, rows []float32) (time.Duration, error) {
	x := safetensors.OfFloat32("", rows)
	raw := message.Raw{Model: p.Models[0].Name, Width: speedColumns, Raw: pca.Raw{DType: x.DType}}
	began := time.Now()
	_, err := c.Transform(ctx, &message.Transform{Documents: message.Vectors{Rows: len(rows) / speedColumns, Raw: []message.Raw{raw}}}, func(_ string, data []byte) error {
		copy(data, x.Data)
		return nil
	})
	return time.Since(began), err
}
