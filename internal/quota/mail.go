package quota

import "strings"

// Bounds of what one replica tells others.
const (
	maxMail   = 100  // in one report
	maxUnsent = 1000 // waiting for a report
)

// Message is what one replica tells another through the state: that a lease of that
// one is released, or what came of it.
type Message struct {
	Token      string `json:"token"` // names the release
	To         string `json:"to"`    // tags, the part of an id after the last slash
	From       string `json:"from"`
	Lease      string `json:"lease"`
	Used       int    `json:"used"`
	Unanswered int    `json:"unanswered"`
	Limited    bool   `json:"limited"`
	Result     string `json:"result"` // empty: it is a release
}

// Tag returns the part of the replica's id after the last slash.
func (s *Shared) Tag() string { return s.id[strings.LastIndexByte(s.id, '/')+1:] }

// Post has m told with the next report. It reports whether that can be done: the state
// decides, and not too many messages wait.
func (s *Shared) Post(m Message) bool {
	if s.mode != sharing || len(s.mail) >= maxUnsent {
		return false
	}
	m.From = s.Tag()
	s.mail = append(s.mail, m)
	s.urgent = true
	return true
}
