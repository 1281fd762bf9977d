package clerkapi

import (
	"maps"
	"slices"
	"sync"
	"testing"
)

// TestUnreadFields: each field is counted each time and reported once.
func TestUnreadFields(t *testing.T) {
	var told []string
	var mu sync.Mutex
	fields := &UnreadFields{First: func(field string) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, field)
	}}
	client := newClient(t, body(`[{"id":"user_a","username":{},"scim":7},{"id":"user_b","username":[1]}]`))
	client.unread = fields.Note
	var calls sync.WaitGroup
	for range 5 {
		calls.Go(func() {
			if _, err := client.ListUsers(t.Context(), ListParams{Limit: 2}); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	if want := map[string]int64{"username": 10, "scim": 5}; !maps.Equal(fields.Counts(), want) {
		t.Errorf("got %v, want %v", fields.Counts(), want)
	}
	if slices.Sort(told); !slices.Equal(told, []string{"scim", "username"}) {
		t.Errorf("told of %v", told)
	}
}
