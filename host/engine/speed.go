package engine

import (
	"context"
	"fmt"
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
	// The first calls find the processor's caches cold, so the best of several calls counts. Each sends more rows than the one before, until one
	// takes long enough for the clock.
	const enough = 500 * time.Microsecond
	for rows := 1; ; rows = min(4*rows, speedRows) {
		x := safetensors.OfFloat32("", values(rows*speedColumns))
		m := &message.Transform{Documents: message.Vectors{Rows: rows, Raw: []message.Raw{{Model: p.Models[0].Name, Width: speedColumns, Raw: pca.Raw{DType: x.DType}}}}}
		began := time.Now()
		_, err := client.Transform(ctx, m, func(_ string, data []byte) error {
			copy(data, x.Data)
			return nil
		})
		if err != nil {
			return 0, fmt.Errorf("measure the engine's speed: %w", err)
		}
		took := time.Since(began)
		perSecond = max(perSecond, float64(rows*speedColumns*speedComponents)/max(took.Seconds(), 1e-9))
		if took >= enough || rows == speedRows {
			return perSecond, nil
		}
	}
}
