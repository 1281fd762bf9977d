package quota

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// beyond returns wants less the permits that the replica has, whether these may be used
// yet or not.
func (s *Shared) beyond(wants [2]int) [2]int {
	unused := len(s.grants)
	for p := range wants {
		n := min(wants[p], unused)
		wants[p] -= n
		unused -= n
	}
	return wants
}

// Due returns when the next report must be made. wants has the number of permits wanted,
// interactive and batch.
func (s *Shared) Due(now time.Time, wants [2]int) time.Time {
	wants = s.beyond(wants)
	due := s.sentAt.Add(beat)
	if s.failed && s.mode == sharing {
		due = s.sentAt.Add(beat / 2)
	}
	switch {
	case s.urgent, s.seq == 0:
		return now
	case s.mode != sharing, wants == [2]int{}:
		return due
	case wants[0] > 0 && s.asked[0] == 0: // it may go before what others want
		return now
	case s.askAt.Before(due):
		return s.askAt
	}
	return due
}

// Report returns the report to send now. Reply must be called with its outcome before the
// next call.
func (s *Shared) Report(now time.Time, wants [2]int) Report {
	s.advance(now)
	if s.mode != sharing {
		wants = [2]int{}
	}
	s.handBack(now, wants[0]+wants[1])
	wants = s.beyond(wants)
	wants[0] = min(wants[0], maxWants)
	wants[1] = min(wants[1], maxWants-wants[0])
	s.seq++
	all := s.full || s.lending.recall > s.acked
	r := Report{
		ID: s.id, Seq: s.seq, Acked: s.acked, Epoch: s.epoch,
		Share: s.share(), Ready: s.view.Ready,
		Fallback: s.mode != sharing, Full: all, Peers: s.view.Replicas,
		Jumped: s.clock.jumped,
		Limit:  s.cfg.lessReserve(s.cfg.Limit), Window: micros(s.cfg.Window), Burst: s.burst(),
		PaceAlways: s.cfg.Pace == PaceAlways,
		First:      [...]string{FullWindow: "full", SlowWindow: "slow", WaitWindow: "wait"}[s.cfg.FirstWindow],
		Hold:       micros(s.longestHold()), LostHold: micros(s.cfg.LostHold),
		Alive: micros(alive), Beat: micros(beat), Horizon: micros(horizon),
		Out: s.out + len(s.grants), Unused: len(s.grants), Returned: s.returned,
		Era: s.era, EraOut: s.eraOut, AnsweredEra: s.answeredEra, Accepted: s.accepted,
		Releases: s.settled.report(now, all), Lost: s.lost.report(now, all), Lent: s.lending.report(now, s.windowHold(), all),
		Lend: s.lending.wanted, MaxLeased: s.cfg.MaxLeased, Mail: slices.Clone(s.mail[:min(len(s.mail), maxMail)]),
		Limited: s.limitedEvents(now), Wants: wants,
	}
	for _, g := range s.grants {
		if g.era == s.era {
			r.EraOut++
		}
	}
	r.Expect, r.Tolerance = s.clock.expect(now)
	for _, free := range s.handed {
		if free.After(now) {
			r.Releases = append(r.Releases, microsUp(free.Sub(now)))
		}
	}
	if h := s.headers; h != nil {
		r.Headers = HeadersEvent{Remaining: h.Remaining, Reset: max(0, micros(h.Reset-now.Sub(h.at))), Released: h.released}
	}
	s.sentAt, s.urgent, s.asked, s.reported = now, false, wants, len(s.handed)
	s.returned, s.accepted, s.headers = 0, 0, nil
	return r
}

// limitedEvents returns the 429s to report, with the rest of their pauses. Pauses that are
// over need no report, and are forgotten.
func (s *Shared) limitedEvents(now time.Time) []LimitedEvent {
	s.limited = slices.DeleteFunc(s.limited, func(e limitedSeen) bool { return !e.until.After(now) })
	s.limited = s.limited[max(0, len(s.limited)-maxLimited):]
	events := make([]LimitedEvent, len(s.limited))
	for i, e := range s.limited {
		events[i].Era = e.era
		if !e.guessed {
			events[i].After = microsUp(e.until.Sub(now))
		}
	}
	return events
}

// Goodbye returns the last report, after which the other replicas divide this one's part.
func (s *Shared) Goodbye(now time.Time) Report {
	r := s.Report(now, [2]int{})
	r.Bye = true
	return r
}

// handBack hands back the unused permits to the state, except the first keep of them.
func (s *Shared) handBack(now time.Time, keep int) {
	keep = min(keep, len(s.grants))
	for _, g := range s.grants[keep:] {
		switch {
		case s.local.cfg.Burst > 0:
			s.returned++
		case g.at.After(now):
			s.handed = append(s.handed, g.at)
		}
	}
	s.grants = s.grants[:keep]
}

// Reply evaluates the outcome of the report r, which was made at sent: a reply or an error.
func (s *Shared) Reply(r Report, sent, now time.Time, reply Reply, err error) {
	if err == nil {
		err = s.clock.observe(reply, sent, now)
	}
	s.failed = err != nil || reply.Status != "ok" && reply.Status != "learning"
	if s.failed {
		s.full, s.urgent = true, false // it is not known what has arrived
		if again := now.Add(retry); again.After(s.askAt) {
			s.askAt = again
		}
		s.advance(now)
		return
	}
	s.advance(now)
	s.acknowledge(r)
	s.acked, s.lastOK, s.full = r.Seq, now, false
	s.view, s.viewAt = reply, now
	if r.Seq < s.lending.mark {
		s.view.Lend = 0 // it was reserved for a loan that has been made meanwhile
	}
	s.lending.after = lendAfter{}
	if r.Seq >= s.lending.recall && reply.LendAfter > 0 {
		s.lending.after = lendAfter{r.Lend, now.Add(reply.LendAfter.Duration())}
	}
	if reply.Era != s.era {
		s.era, s.eraOut = reply.Era, 0
	}
	s.switchMode(reply, now)
	s.addGrants(reply, now)
	switch {
	case reply.Again >= 0:
		s.askAt = now.Add(reply.Again.Duration())
	case len(strings.Fields(reply.Grants)) >= r.Wants[0]+r.Wants[1]:
		s.askAt = now
	default:
		s.askAt = now.Add(beat)
	}
}

// acknowledge forgets what the state knows from the report r.
func (s *Shared) acknowledge(r Report) {
	s.limited = s.limited[len(r.Limited):]
	s.mail = s.mail[len(r.Mail):]
	s.urgent = s.urgent || len(s.mail) > 0
	s.handed = s.handed[s.reported:]
}

// switchMode begins or ends the fallback, as the reply requires.
func (s *Shared) switchMode(reply Reply, now time.Time) {
	known := reply.Epoch == s.epoch
	s.epoch = reply.Epoch
	switch {
	case reply.Status == "learning" || !known && s.mode == sharing:
		s.fallBack(now)
		s.full = s.full || !known
	case s.mode != sharing:
		// From here on nothing is sent without the state. It will grant permits once it has
		// received a complete report.
		s.mode = sharing
		s.full, s.urgent = true, true
	}
	if s.mode == sharing {
		s.conform(now)
	}
}

// addGrants adds the permits that the reply grants. If it reports a pause, all permits are
// handed back.
func (s *Shared) addGrants(reply Reply, now time.Time) {
	own := strings.Fields(reply.Own)
	for i, text := range strings.Fields(reply.Grants) {
		if delay, err := strconv.ParseInt(text, 10, 64); err == nil {
			s.grants = append(s.grants, grant{
				at: now.Add(Microseconds(delay).Duration()), era: reply.Era, released: reply.Released,
				own: i < len(own) && own[i] == "1",
			})
		}
	}
	slices.SortStableFunc(s.grants, func(a, b grant) int { return a.at.Compare(b.at) })
	if reply.Paused > 0 {
		s.handBack(now, 0)
	}
}
