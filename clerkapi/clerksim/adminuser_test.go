package clerksim

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// order sends an admin request and returns the answer.
func order(s *Sim, method, target, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(method, target, strings.NewReader(body)))
	return w
}

func TestCreateByOrder(t *testing.T) {
	s := newSim(t, Config{Users: 5})
	ids := map[string]bool{}
	for range 3 {
		w := order(s, http.MethodPost, "/sim/users", "")
		if w.Code != http.StatusOK {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
		u := decode[User](t, w.Body.Bytes())
		ids[u.ID] = true
		if u.CreatedAt != u.UpdatedAt || len(u.EmailAddresses) == 0 || u.LastActiveAt != nil {
			t.Errorf("made up %+v", u)
		}
		if got := ask(s, "/v1/users/"+u.ID).Body.String(); got != w.Body.String() {
			t.Errorf("the API gives %s, the order %s", got, w.Body)
		}
		if first := askIDs(t, s, "/v1/users?limit=1"); first[0] != u.ID {
			t.Errorf("the newest is %v, not %s", first, u.ID)
		}
	}
	if len(ids) != 3 || len(askIDs(t, s, "/v1/users")) != 8 {
		t.Errorf("made up %v", ids)
	}
}

func TestPatchByOrder(t *testing.T) {
	s := newSim(t, Config{Users: 5})
	id := s.UserIDs(1)[0]
	before, _ := s.User(id)
	w := order(s, http.MethodPatch, "/sim/users/"+id,
		`{"first_name":"Ada","last_name":null,"public_metadata":{"plan":"pro","n":12345678901234567890},"banned":true,"id":"user_other"}`)
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	u := decode[User](t, w.Body.Bytes())
	if u.ID != id || *u.FirstName != "Ada" || u.LastName != nil || !u.Banned || u.UpdatedAt <= before.UpdatedAt ||
		string(u.PublicMetadata) != `{"plan":"pro","n":12345678901234567890}` || string(u.PrivateMetadata) != string(before.PrivateMetadata) {
		t.Errorf("got %s", w.Body)
	}
	if got := ask(s, "/v1/users/"+id).Body.String(); got != w.Body.String() {
		t.Errorf("the API gives %s, the order %s", got, w.Body)
	}
}

func TestDeleteByOrder(t *testing.T) {
	s := newSim(t, Config{Users: 5})
	id := s.UserIDs(1)[0]
	if w := order(s, http.MethodDelete, "/sim/users/"+id, ""); w.Code != http.StatusNoContent {
		t.Errorf("status %d", w.Code)
	}
	if w := ask(s, "/v1/users/"+id); w.Code != http.StatusNotFound {
		t.Errorf("the API still gives %s", w.Body)
	}
}

func TestBadOrders(t *testing.T) {
	s := newSim(t, Config{Users: 5, Webhook: Webhook{URL: "http://receiver.example/", Secret: webhookSecret}})
	id := s.UserIDs(1)[0]
	before := ask(s, "/v1/users/"+id).Body.String()
	for _, tt := range []struct {
		method, target, body string
		status               int
	}{
		{http.MethodPatch, "/sim/users/user_none", `{"first_name":"Ada"}`, 404},
		{http.MethodDelete, "/sim/users/user_none", "", 404},
		{http.MethodPatch, "/sim/users/", `{"first_name":"Ada"}`, 404},
		{http.MethodPatch, "/sim/users", `{"first_name":"Ada"}`, 404},
		{http.MethodGet, "/sim/users", "", 404},
		{http.MethodPost, "/sim/users/" + id, "", 404},
		{http.MethodPost, "/sim/usersx", "", 404},
		{http.MethodPatch, "/sim/users/" + id, `{"first_name":"Ada","banned":"yes"}`, 400},
		{http.MethodPatch, "/sim/users/" + id, `{"first_name":"Ada","shoe_size":9}`, 400},
		{http.MethodPatch, "/sim/users/" + id, `{"first_name":"Ada"`, 400},
		{http.MethodPatch, "/sim/users/" + id, ``, 400},
		{http.MethodPatch, "/sim/users/" + id, `{"first_name":"` + strings.Repeat("a", maxOrder) + `"}`, 400},
	} {
		if w := order(s, tt.method, tt.target, tt.body); w.Code != tt.status {
			t.Errorf("%s %s %.40s: status %d, want %d: %s", tt.method, tt.target, tt.body, w.Code, tt.status, w.Body)
		}
	}
	if after := ask(s, "/v1/users/"+id).Body.String(); after != before {
		t.Errorf("changed to %s", after)
	}
	wantWebhooks(t, s, WebhookStats{})
}
