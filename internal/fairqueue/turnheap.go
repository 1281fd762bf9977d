package fairqueue

// turnHeap is a heap of those who take turns, the least tag first. With ten thousand in
// it, memory is what takes time. So a node has four children and its key beside it, and
// where each is stands in a table of the heap's own.
type turnHeap[T interface{ self() *turn }] struct {
	kind Kind
	all  []turnNode[T]
	at   []int32 // index in all, by turn.ids
	free []int32 // ids that nobody has
}

type turnNode[T interface{ self() *turn }] struct {
	tag    float64
	joined uint64
	id     int32
	x      T
}

func (a *turnNode[T]) before(b *turnNode[T]) bool {
	if a.tag != b.tag {
		return a.tag < b.tag
	}
	return a.joined < b.joined
}

// Len returns how many are in the heap.
func (h *turnHeap[T]) Len() int { return len(h.all) }

// top returns the least, and whether there is one.
func (h *turnHeap[T]) top() (x T, ok bool) {
	if len(h.all) == 0 {
		return x, false
	}
	return h.all[0].x, true
}

func (h *turnHeap[T]) push(x T) {
	t := x.self()
	if n := len(h.free); n > 0 {
		t.ids[h.kind], h.free = h.free[n-1], h.free[:n-1]
	} else {
		t.ids[h.kind] = int32(len(h.at))
		h.at = append(h.at, 0)
	}
	h.all = append(h.all, turnNode[T]{})
	h.up(len(h.all)-1, h.node(x))
}

func (h *turnHeap[T]) node(x T) turnNode[T] {
	t := x.self()
	return turnNode[T]{t.tag, t.joined, t.ids[h.kind], x}
}

func (h *turnHeap[T]) remove(x T) {
	t := x.self()
	i := int(h.at[t.ids[h.kind]])
	h.free = append(h.free, t.ids[h.kind])
	t.ids[h.kind] = absent
	n := len(h.all) - 1
	last := h.all[n]
	h.all[n] = turnNode[T]{}
	h.all = h.all[:n]
	if i < n {
		h.place(i, last)
	}
	if n == 0 {
		h.at, h.free = nil, nil
	}
}

// fix puts x where it belongs, now that its tag has changed.
func (h *turnHeap[T]) fix(x T) { h.place(int(h.at[x.self().ids[h.kind]]), h.node(x)) }

// place puts a node in the place of the one at i, or above or below it.
func (h *turnHeap[T]) place(i int, n turnNode[T]) {
	if i > 0 && n.before(&h.all[(i-1)/4]) {
		h.up(i, n)
		return
	}
	h.down(i, n)
}

func (h *turnHeap[T]) set(i int, n turnNode[T]) {
	h.all[i] = n
	h.at[n.id] = int32(i)
}

func (h *turnHeap[T]) up(i int, n turnNode[T]) {
	for i > 0 {
		parent := (i - 1) / 4
		if !n.before(&h.all[parent]) {
			break
		}
		h.set(i, h.all[parent])
		i = parent
	}
	h.set(i, n)
}

func (h *turnHeap[T]) down(i int, n turnNode[T]) {
	for {
		least := 4*i + 1
		if least >= len(h.all) {
			break
		}
		for c := least + 1; c < min(4*i+5, len(h.all)); c++ {
			if h.all[c].before(&h.all[least]) {
				least = c
			}
		}
		if !h.all[least].before(&n) {
			break
		}
		h.set(i, h.all[least])
		i = least
	}
	h.set(i, n)
}
