package clerksim

import "time"

// Create adds a user. It sets ID, Object, CreatedAt and UpdatedAt in u where they are
// empty. It fails if a user with that id exists.
func (s *Sim) Create(u *User) error {
	_, err := s.create(u)
	return err
}

func (s *Sim) create(u *User) (*record, error) {
	now := time.Now()
	if u.ID == "" {
		s.mu.Lock()
		u.ID = randomID(s.rng, "user")
		s.mu.Unlock()
	}
	if u.Object == "" {
		u.Object = "user"
	}
	if u.CreatedAt == 0 {
		u.CreatedAt = now.UnixMilli()
	}
	if u.UpdatedAt == 0 {
		u.UpdatedAt = u.CreatedAt
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	r, err := s.users.add(u.clone())
	if err == nil {
		s.outbox.announce("user.created", r.user.ID, r.text)
	}
	return r, err
}

// Update changes a user, except its id, and sets updated_at to now or later than before.
// It fails if there is no such user, or if change sets metadata that is not JSON.
func (s *Sim) Update(id string, change func(*User)) error {
	_, err := s.update(id, change)
	return err
}

func (s *Sim) update(id string, change func(*User)) (*record, error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	r, err := s.users.update(id, time.Now(), change)
	if err == nil {
		s.outbox.announce("user.updated", id, r.text)
	}
	return r, err
}

// Delete removes a user. It fails if there is no such user.
func (s *Sim) Delete(id string) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	err := s.users.delete(id)
	if err == nil {
		s.outbox.announce("user.deleted", id, nil)
	}
	return err
}

// newcomer generates a user who was created now.
func (s *Sim) newcomer() *User {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.seeder.user()
	u.CreatedAt = time.Now().UnixMilli()
	u.UpdatedAt = u.CreatedAt
	u.LastSignInAt, u.LastActiveAt, u.PasswordLastUpdatedAt = nil, nil, nil
	return u
}
