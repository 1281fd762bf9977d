// Package client reads Clerk's users through a clerkgate server:
//
//	clerk, err := client.New(client.Config{Address: "127.0.0.1:9090", Caller: "billing"})
//	if err != nil {
//		return err
//	}
//	defer clerk.Close()
//	user, err := clerk.GetUser(ctx, "user_…")
//
// Users, filters and the quota are messages of the contract, package clerkgatev1. The client
// adds deadlines, retries, keepalive, credentials and typed errors, cuts batches of any size,
// and resumes streams. Package clienttest runs a server with simulated users in tests.
//
// The context of a call carries its deadline and, by WithPriority, its priority. A server that
// can't answer before the deadline refuses the call at once, so set the time that you really
// have.
package client
