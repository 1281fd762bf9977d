package gate

// maxBatch is how many ids Clerk takes in one request.
const maxBatch = 100

// maxPatience is the most full batches that pass between two tries of a larger one.
const maxPatience = 64

// batchSize is how many ids go into a request. It is found as congestion control
// finds a window: a batch that is too large halves it, and batches that are answered
// let it grow again, doubling at first. A try that fails is given up at once and the
// next one aims between what was borne and what was not; after each that fails twice
// as many full batches pass until the next, so that a lasting limit costs little.
// After a passing one a few requests are enough.
type batchSize struct {
	limit    int // ids in a request now
	borne    int // the largest that was answered since the last cut
	refused  int // the smallest that was too large; 0: none, or forgotten
	full     int // batches of limit ids answered since it last changed
	patience int // how many of them there must be before a larger one is tried
}

func newBatchSize() batchSize { return batchSize{limit: maxBatch, patience: 1} }

// tooLarge takes in that a batch of n ids was.
func (b *batchSize) tooLarge(n int) {
	if n < 2 { // a lone id can't be smaller
		return
	}
	if b.borne > 0 && n > b.borne { // a try
		b.patience = min(2*b.patience, maxPatience)
		b.limit = min(b.limit, b.borne)
	} else {
		b.limit = max(1, min(b.limit, n/2))
		b.borne = 0
	}
	b.refused, b.full = n, 0
}

// answered takes in that a batch of n ids was answered.
func (b *batchSize) answered(n int) {
	if n < b.limit || b.limit == maxBatch {
		return
	}
	if b.refused > 0 && n >= b.refused { // the limit has passed
		b.refused, b.patience = 0, 1
	}
	b.borne = max(b.borne, n)
	if b.full++; b.full < b.patience {
		return
	}
	b.full = 0
	if between := (b.limit + b.refused) / 2; b.patience > 1 && between > b.limit {
		b.limit = between
		return
	}
	b.limit = min(maxBatch, 2*b.limit)
}
