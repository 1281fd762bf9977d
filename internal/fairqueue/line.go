package fairqueue

// Line is where one caller's items of one priority wait.
type Line struct {
	level    *level
	priority Priority
	weight   int64
	tag      float64
	joined   uint64 // breaks ties between tags
	places   map[*Item]*place
	heads    [kinds]placeList
	units    int64      // cost of all that waits here
	slots    [kinds]int // index in level.turns, -1 if not there
}

// Priority returns the line's priority.
func (l *Line) Priority() Priority { return l.priority }

// Len returns how many items wait in the line.
func (l *Line) Len() int { return len(l.places) }

func (l *Line) before(m *Line) bool {
	if l.tag != m.tag {
		return l.tag < m.tag
	}
	return l.joined < m.joined
}

// each calls f with what waits in the line, in the order in which it will go.
func (l *Line) each(f func(*place)) {
	a, b := l.heads[Shared].first, l.heads[Whole].first
	for a != nil || b != nil {
		if b == nil || a != nil && a.seq < b.seq {
			f(a)
			a = a.inLine.next
		} else {
			f(b)
			b = b.inLine.next
		}
	}
}

// lineHeap orders lines by their tags.
type lineHeap struct {
	kind  Kind
	lines []*Line
}

func (h *lineHeap) Len() int           { return len(h.lines) }
func (h *lineHeap) Less(i, j int) bool { return h.lines[i].before(h.lines[j]) }
func (h *lineHeap) Swap(i, j int) {
	h.lines[i], h.lines[j] = h.lines[j], h.lines[i]
	h.lines[i].slots[h.kind], h.lines[j].slots[h.kind] = i, j
}

// Push is container/heap's.
func (h *lineHeap) Push(x any) {
	l := x.(*Line)
	l.slots[h.kind] = len(h.lines)
	h.lines = append(h.lines, l)
}

// Pop is container/heap's.
func (h *lineHeap) Pop() any {
	l := h.lines[len(h.lines)-1]
	h.lines[len(h.lines)-1] = nil
	h.lines = h.lines[:len(h.lines)-1]
	l.slots[h.kind] = -1
	return l
}

func (h *lineHeap) top() *Line {
	if len(h.lines) == 0 {
		return nil
	}
	return h.lines[0]
}
