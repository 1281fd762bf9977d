package clerkapi

import (
	"maps"
	"sync"
)

// UnreadFields counts values that could not be decoded, by field. Its method Note can be
// used as Config.Unread. It is safe for concurrent use.
type UnreadFields struct {
	// First, if not nil, is called once for each field.
	First func(field string)

	mu     sync.Mutex
	counts map[string]int64
}

// Note counts one value of a field.
func (f *UnreadFields) Note(field string) {
	f.mu.Lock()
	if f.counts == nil {
		f.counts = make(map[string]int64)
	}
	f.counts[field]++
	first := f.counts[field] == 1
	f.mu.Unlock()
	if first && f.First != nil {
		f.First(field)
	}
}

// Counts returns the number of undecodable values by field.
func (f *UnreadFields) Counts() map[string]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.counts)
}
