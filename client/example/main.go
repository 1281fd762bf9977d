// Command example prints the first name of a user.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/clerkgate/clerkgate/client"
)

func main() {
	clerk, err := client.New(client.Config{Address: "127.0.0.1:9090", Caller: "example"})
	if err != nil {
		log.Fatal(err)
	}
	defer clerk.Close()
	user, err := clerk.GetUser(context.Background(), "user_CsQnnwTgmRLDZMXQVWxBwcECTyw")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(user.GetFirstName())
}
