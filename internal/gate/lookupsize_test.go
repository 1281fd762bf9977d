package gate

import "testing"

// TestLookupSizeAfterASpell: however long every lookup was too large, doubling brings
// the size back within a few requests.
func TestLookupSizeAfterASpell(t *testing.T) {
	b := newLookupSize()
	for range 1000 {
		b.tooLarge(b.limit)
	}
	if b.limit != 1 {
		t.Fatalf("size is %d during the spell, want 1", b.limit)
	}
	ids, requests := 0, 0
	for ; ids < 1000; requests++ {
		ids += b.limit
		b.answered(b.limit)
	}
	if requests > 17 {
		t.Errorf("1,000 lookups take %d requests after a spell, want at most 17: 10 and 7 to double the size", requests)
	}
}

// TestLookupSizeUnderALastingLimit: the size finds the limit, and trying larger sizes
// costs little.
func TestLookupSizeUnderALastingLimit(t *testing.T) {
	for _, limit := range []int{1, 2, 7, 33, 50, 60, 99} {
		b := newLookupSize()
		ids, failed := 0, 0
		const batches = 2000
		for range batches {
			if b.limit > limit {
				b.tooLarge(b.limit)
				failed++
				continue
			}
			ids += b.limit
			b.answered(b.limit)
		}
		if per := float64(ids) / (batches - float64(failed)); per < 0.85*float64(limit) {
			t.Errorf("limit %d: %.1f ids a batch", limit, per)
		}
		if failed > batches/32 {
			t.Errorf("limit %d: %d of %d batches were too large", limit, failed, batches)
		}
	}
}
