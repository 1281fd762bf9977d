package clerksim

import "time"

// Create adds a user. Of its fields ID, Object, CreatedAt and UpdatedAt are
// filled in where they are empty, and u is changed accordingly. It is an error
// if there is a user of that id.
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

// Update changes a user, all but his id, and sets updated_at to now, or past
// what it was. It is an error if there is no such user, or if the metadata that
// change set is not JSON.
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

// Delete removes a user. It is an error if there is no such user.
func (s *Sim) Delete(id string) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	err := s.users.delete(id)
	if err == nil {
		s.outbox.announce("user.deleted", id, nil)
	}
	return err
}

// newcomer makes up somebody who has just come.
func (s *Sim) newcomer() *User {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.seeder.user()
	u.CreatedAt = time.Now().UnixMilli()
	u.UpdatedAt = u.CreatedAt
	u.LastSignInAt, u.LastActiveAt, u.PasswordLastUpdatedAt = nil, nil, nil
	return u
}
