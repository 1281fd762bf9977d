package server

import (
	"context"
	"slices"

	"google.golang.org/grpc"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// services are the project's own.
var services = []grpc.ServiceDesc{
	clerkgatev1.UserService_ServiceDesc, clerkgatev1.QuotaService_ServiceDesc, clerkgatev1.CallerService_ServiceDesc,
}

// methodsOf returns the names of a service's methods.
func methodsOf(service grpc.ServiceDesc) []string {
	var names []string
	for _, m := range service.Methods {
		names = append(names, m.MethodName)
	}
	for _, s := range service.Streams {
		names = append(names, s.StreamName)
	}
	return names
}

// callerService is clerkgate.v1.CallerService.
type callerService struct {
	clerkgatev1.UnimplementedCallerServiceServer
}

// sorted returns the members of all lists in order.
func sorted(lists ...[]string) []string {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return all
}

func (callerService) WhoAmI(ctx context.Context, _ *clerkgatev1.WhoAmIRequest) (*clerkgatev1.WhoAmIResponse, error) {
	who := admitted(ctx)
	if who == nil {
		m := callerMethods()
		return &clerkgatev1.WhoAmIResponse{Methods: sorted(m.Plain, m.Permits, m.Invalidate)}, nil
	}
	return &clerkgatev1.WhoAmIResponse{
		Name: who.Name, Methods: who.Methods, FullView: who.FullView.Names(),
		BatchOnly: who.BatchOnly, MaxStreams: int32(who.Streams),
	}, nil
}
