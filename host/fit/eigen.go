package fit

import (
	"errors"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/lapack"
	"gonum.org/v1/gonum/lapack/lapack64"
)

var errNoConvergence = errors.New("the eigenvalues of the covariance did not converge")

// eigen decomposes a symmetric matrix of n rows by LAPACK's dsyev. It calls at(i, j) for j >= i alone. The values descend, and none is below 0.
// Column j of the vectors belongs to value j; element (i, j) is at i*stride+j. Where only values are wanted, vectors is nil.
func eigen(n int, at func(i, j int) float64, wantVectors bool) (values, vectors []float64, stride int, err error) {
	// A stride that is a power of two has every row of a column in the same few cache lines.
	stride = n + 8
	a := blas64.Symmetric{N: n, Stride: stride, Uplo: blas.Upper, Data: make([]float64, n*stride)}
	for i := range n {
		for j := i; j < n; j++ {
			a.Data[i*stride+j] = at(i, j)
		}
	}
	job := lapack.EVNone
	if wantVectors {
		job = lapack.EVCompute
	}
	values = make([]float64, n)
	work := make([]float64, 1)
	lapack64.Syev(job, a, values, work, -1)
	work = make([]float64, int(work[0]))
	if !lapack64.Syev(job, a, values, work, len(work)) {
		return nil, nil, 0, errNoConvergence
	}
	reverse := func(v []float64) {
		for i := range n / 2 {
			v[i], v[n-1-i] = v[n-1-i], v[i]
		}
	}
	reverse(values)
	for i := range values {
		values[i] = max(values[i], 0)
	}
	if !wantVectors {
		return values, nil, 0, nil
	}
	for i := range n {
		reverse(a.Data[i*stride:][:n])
	}
	return values, a.Data, stride, nil
}
