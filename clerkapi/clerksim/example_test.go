package clerksim_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
)

// A fault makes the simulator fail: here, the next two requests are answered 503.
func ExampleSim_AddFault() {
	sim, err := clerksim.New(clerksim.Config{Users: 3})
	if err != nil {
		log.Fatal(err)
	}
	clerk := httptest.NewServer(sim)
	defer clerk.Close()

	get := func(id string) int {
		req, err := http.NewRequest(http.MethodGet, clerk.URL+"/v1/users/"+id, nil)
		if err != nil {
			log.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer sk_test_example")
		resp, err := clerk.Client().Do(req)
		if err != nil {
			log.Fatal(err)
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}

	id := sim.UserIDs(1)[0]
	fmt.Println(get(id))

	err = sim.AddFault(clerksim.Fault{Kind: clerksim.FaultStatus, Status: 503, Count: 2})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(get(id), get(id), get(id))
	fmt.Println(sim.Stats().Requests)
	// Output:
	// 200
	// 503 503 200
	// 4
}

// A quota makes the simulator refuse requests as Clerk does.
func ExampleQuota() {
	quota, err := clerksim.ParseQuota("2/10s")
	if err != nil {
		log.Fatal(err)
	}
	sim, err := clerksim.New(clerksim.Config{Users: 1, Quota: quota})
	if err != nil {
		log.Fatal(err)
	}
	for range 3 {
		r := httptest.NewRequest(http.MethodGet, "/v1/users/count", nil)
		r.Header.Set("Authorization", "Bearer sk_test_example")
		w := httptest.NewRecorder()
		sim.ServeHTTP(w, r)
		fmt.Println(w.Code)
	}
	// Output:
	// 200
	// 200
	// 429
}
