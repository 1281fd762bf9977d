package gate

// poke makes Run look for work.
func (g *Gate) poke() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// exchangeSoon makes keepSharing check whether an exchange is due.
func (g *Gate) exchangeSoon() {
	select {
	case g.exchangeDue <- struct{}{}:
	default:
	}
}
