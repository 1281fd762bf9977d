package server

// Replicas returns how many replicas share the limits of callers, as the server has last
// counted them.
func (s *Server) Replicas() int { return int(s.guard.replicas.Load()) }
