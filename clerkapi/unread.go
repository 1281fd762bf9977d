package clerkapi

import (
	"maps"
	"sync"
)

// UnreadFields counts the fields whose values could not be read; its method Note
// serves as Config.Unread. Its methods are safe for concurrent use.
type UnreadFields struct {
	// First, if set, is called for each field the first time.
	First func(field string)

	mu     sync.Mutex
	counts map[string]int64
}

// Note counts a field.
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

// Counts returns how often each field could not be read.
func (f *UnreadFields) Counts() map[string]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.counts)
}
