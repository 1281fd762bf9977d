package fairqueue

import "container/heap"

// MaxNames is how many names of one peer have lines of their own at one time. All other
// names share one more line, so a peer gains nothing by inventing names.
const MaxNames = 16

// maxIndebted is how many peers of a priority without items are remembered because of
// the turns that they have had in advance.
const maxIndebted = 10_000

// Party identifies who takes turns. Turns go to peers first, and inside a peer to names.
type Party struct {
	Peer string // the caller's proven identity, or else its address
	Name string // the name that the caller claims
}

// peer takes turns among the peers of a level.
type peer struct {
	turn
	schedule[*Line]
	level  *level
	key    string
	lines  map[string]*Line // by name
	others *Line            // of all other names; nil if there were none
	units  int64            // cost of all items that wait here
	users  int              // holders of its lines
	slot   int              // index in level.indebted, -1 if it is not there

	guarantee *guarantee // nil: none
}

// Line holds the items of one party at one priority.
type Line struct {
	turn
	peer     *peer
	priority Priority
	len      int // items that wait here
	heads    [kinds]placeList
	units    int64 // cost of all items that wait here
	users    int   // how many hold it
	scanned  struct {
		round uint64
		units int64 // cost of the items that the scan has seen and left here
	}
}

// Line returns the line for a party's items of a priority, and holds it until Release.
func (q *Queue) Line(who Party, p Priority) *Line {
	v := &q.levels[p]
	from := v.peers[who.Peer]
	if from == nil {
		from = &peer{turn: newTurn(weightOf(q.shares[who.Peer])), level: v, key: who.Peer, lines: make(map[string]*Line), slot: -1}
		from.init()
		v.peers[who.Peer] = from
		q.guaranteeTo(from)
	}
	if from.slot >= 0 {
		heap.Remove(&v.indebted, from.slot)
	}
	l := from.line(who.Name, p)
	l.users++
	from.users++
	return l
}

// line returns the line of a name, or the line of the other names if there is no room.
func (from *peer) line(name string, p Priority) *Line {
	if l := from.lines[name]; l != nil {
		return l
	}
	if len(from.lines) >= MaxNames && !from.forgetName() {
		if from.others == nil {
			from.others = newLine(from, p)
		}
		return from.others
	}
	l := newLine(from, p)
	from.lines[name] = l
	return l
}

func newLine(from *peer, p Priority) *Line {
	l := &Line{turn: newTurn(1), peer: from, priority: p}
	l.heads[Shared].of = linksInLine
	l.heads[Whole].of = linksInLine
	return l
}

// forgetName drops a line that has no items and no holders, and reports whether there
// was one. Of several it drops the one with the fewest turns in advance.
func (from *peer) forgetName() bool {
	var oldest *Line
	var name string
	for n, l := range from.lines {
		if l.users == 0 && l.Len() == 0 && (oldest == nil || l.tag < oldest.tag) {
			oldest, name = l, n
		}
	}
	if oldest == nil {
		return false
	}
	delete(from.lines, name)
	return true
}

// Release releases a line that Queue.Line has returned. A line must be held as long as
// items wait in it.
func (l *Line) Release() {
	l.users--
	l.peer.users--
	l.peer.settle()
}

// settle forgets a peer that nobody holds, once it has no turns in advance.
func (from *peer) settle() {
	v := from.level
	v.settle()
	switch {
	case from.users > 0:
	case from.tag <= v.vtime:
		v.forget(from)
	default:
		heap.Push(&v.indebted, from)
		if v.indebted.Len() > maxIndebted {
			v.forgive()
		}
	}
}

// forgive forgets, of the peers without items, the one with the fewest turns in advance.
func (v *level) forgive() {
	v.forget(heap.Pop(&v.indebted).(*peer))
}

// forget forgets a peer that has neither items nor holders.
func (v *level) forget(from *peer) {
	delete(v.peers, from.key)
	if from.guarantee != nil {
		from.guarantee.peers[v.priority] = nil
	}
}

// settle forgets the peers that have no turns in advance any more.
func (v *level) settle() {
	if v.backlog.total == 0 {
		v.rest()
	}
	for v.indebted.Len() > 0 && v.indebted[0].tag <= v.vtime {
		v.forgive()
	}
}

// Priority returns the line's priority.
func (l *Line) Priority() Priority { return l.priority }

// Len returns how many items wait in the line.
func (l *Line) Len() int { return l.len }

// peerHeap is a heap of peers without items, ordered by their tags.
type peerHeap []*peer

func (h peerHeap) Len() int           { return len(h) }
func (h peerHeap) Less(i, j int) bool { return h[i].tag < h[j].tag }
func (h peerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot, h[j].slot = i, j
}

// Push implements heap.Interface.
func (h *peerHeap) Push(x any) {
	p := x.(*peer)
	p.slot = len(*h)
	*h = append(*h, p)
}

// Pop implements heap.Interface.
func (h *peerHeap) Pop() any {
	n := len(*h) - 1
	p := (*h)[n]
	(*h)[n] = nil
	*h = (*h)[:n]
	p.slot = -1
	return p
}
