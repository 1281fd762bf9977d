package quota

import "strings"

// Bounds of the messages to other replicas.
const (
	maxMail   = 100  // in one report
	maxUnsent = 1000 // waiting for a report
)

// Message is a message from one replica to another, through the state: the release of a
// lease that the receiver has granted, or the result of a release.
type Message struct {
	Token      string `json:"token"` // identifies the release
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

// Post adds m to the next report. It reports whether that is possible: it is not while
// the replica does without the state, or if too many messages wait.
func (s *Shared) Post(m Message) bool {
	if s.mode != sharing || len(s.mail) >= maxUnsent {
		return false
	}
	m.From = s.Tag()
	s.mail = append(s.mail, m)
	s.urgent = true
	return true
}
