package server

import (
	callmetrics "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
)

// callBuckets are the upper bounds of the histogram of calls in seconds: from calls that
// memory answers to calls that waited for the quota. There are few, since each method has a
// series for each.
var callBuckets = []float64{0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10}

// measureCalls registers the metrics of calls and returns the interceptors that count
// them. They must be the outermost, so that they see the answer that the caller gets.
func measureCalls(r prometheus.Registerer) chain {
	m := callmetrics.NewServerMetrics(callmetrics.WithServerHandlingTimeHistogram(callmetrics.WithHistogramBuckets(callBuckets)))
	r.MustRegister(m)
	return chain{
		unary:  []grpc.UnaryServerInterceptor{m.UnaryServerInterceptor()},
		stream: []grpc.StreamServerInterceptor{m.StreamServerInterceptor()},
	}
}
