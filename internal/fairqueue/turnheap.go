package fairqueue

// turnHeap is a heap of peers or lines, the smallest tag first. A node has four children
// and holds its key, since with ten thousand nodes access to memory takes most of the
// time.
type turnHeap[T interface{ self() *turn }] struct {
	kind Kind
	all  []turnNode[T]
}

type turnNode[T interface{ self() *turn }] struct {
	tag    float64
	joined uint64
	x      T
}

func (a *turnNode[T]) before(b *turnNode[T]) bool {
	if a.tag != b.tag {
		return a.tag < b.tag
	}
	return a.joined < b.joined
}

func nodeOf[T interface{ self() *turn }](x T) turnNode[T] {
	t := x.self()
	return turnNode[T]{t.tag, t.joined, x}
}

// Len returns how many are in the heap.
func (h *turnHeap[T]) Len() int { return len(h.all) }

// top returns the one with the smallest tag, and whether there is one.
func (h *turnHeap[T]) top() (x T, ok bool) {
	if len(h.all) == 0 {
		return x, false
	}
	return h.all[0].x, true
}

func (h *turnHeap[T]) push(x T) {
	h.all = append(h.all, turnNode[T]{})
	h.up(len(h.all)-1, nodeOf(x))
}

func (h *turnHeap[T]) remove(i int) {
	h.all[i].x.self().slots[h.kind] = -1
	n := len(h.all) - 1
	last := h.all[n]
	h.all[n] = turnNode[T]{}
	h.all = h.all[:n]
	if i < n {
		h.place(i, last)
	}
}

// fix restores the order after the tag at i has changed.
func (h *turnHeap[T]) fix(i int) { h.place(i, nodeOf(h.all[i].x)) }

// place puts a node at i, or above or below it.
func (h *turnHeap[T]) place(i int, n turnNode[T]) {
	if i > 0 && n.before(&h.all[(i-1)/4]) {
		h.up(i, n)
		return
	}
	h.down(i, n)
}

func (h *turnHeap[T]) set(i int, n turnNode[T]) {
	h.all[i] = n
	n.x.self().slots[h.kind] = i
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
