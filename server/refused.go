package server

import (
	"sync/atomic"

	"github.com/clerkgate/clerkgate/internal/telemetry"
)

// refusedConnections counts connections that a listener refused: too many were open, in all
// or of one address.
type refusedConnections struct{ full, address atomic.Int64 }

// RefusedConnections returns how many connections were refused, by listener and reason.
func (s *Server) RefusedConnections() map[telemetry.RefusedConnection]int64 {
	all := make(map[telemetry.RefusedConnection]int64)
	for name, r := range map[string]*refusedConnections{
		"grpc": &s.refused.grpc, "http": &s.refused.http, "webhook": &s.refused.webhooks,
	} {
		all[telemetry.RefusedConnection{Listener: name, Reason: "full"}] = r.full.Load()
		all[telemetry.RefusedConnection{Listener: name, Reason: "address"}] = r.address.Load()
	}
	return all
}

// RefusedCalls returns how many calls and streams were refused or ended because there were
// too many or their requests were late, by reason.
func (s *Server) RefusedCalls() map[string]int64 {
	late, gaveWay := s.edge.arrivals.refused()
	return map[string]int64{
		"request_late":   late,
		"requests_full":  gaveWay,
		"streams_full":   s.edge.streams.refusedFull.Load(),
		"streams_caller": s.edge.streams.refusedCaller.Load(),
		"http_full":      s.calls.intake.refusedFull.Load(),
		"http_address":   s.calls.intake.refusedAddress.Load(),
	}
}
