package server

import (
	"errors"
	"net/netip"
	"testing"
)

// TestIntake bounds calls and bytes, of one address and of all.
func TestIntake(t *testing.T) {
	a, b := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32")
	i := newIntake(4, 100)
	for _, tt := range []struct {
		address      netip.Prefix
		calls, bytes int
		want         error
	}{
		{a, 2, 50, nil}, {a, 1, 0, errCallerIntake}, {a, 0, 1, errCallerIntake},
		{b, 2, 49, nil}, {netip.Prefix{}, 0, 2, errIntakeFull}, {netip.Prefix{}, 1, 0, errIntakeFull}, {netip.Prefix{}, 0, 1, nil},
	} {
		if err := i.add(tt.address, tt.calls, tt.bytes); !errors.Is(err, tt.want) {
			t.Errorf("%v %d %d: %v, want %v", tt.address, tt.calls, tt.bytes, err, tt.want)
		}
	}
	if full, address := i.refusedFull.Load(), i.refusedAddress.Load(); full != 2 || address != 2 {
		t.Errorf("%d are refused of all and %d of one address, want 2 of each", full, address)
	}
	i.remove(a, 2, 50)
	i.remove(b, 2, 49)
	i.remove(netip.Prefix{}, 0, 1)
	if i.all != (load{}) || len(i.from) > 0 {
		t.Errorf("left: %+v, %v", i.all, i.from)
	}
}
