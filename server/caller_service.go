package server

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/caller"
)

// services are the services of this project.
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

// callerService implements clerkgate.v1.CallerService.
type callerService struct {
	clerkgatev1.UnimplementedCallerServiceServer
}

// sorted returns the members of all lists, sorted.
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
		BatchOnly: who.BatchOnly, MaxStreams: int32(who.Streams), Weight: int32(who.Weight), GuaranteedPercent: int32(who.Guaranteed),
		MaxLookups: limitOf(who.Lookups), MaxRequests: limitOf(who.Requests),
	}, nil
}

// limitOf returns nil for no limit.
func limitOf(l caller.Limit) *clerkgatev1.CallerLimit {
	if l.Count == 0 {
		return nil
	}
	return &clerkgatev1.CallerLimit{Count: int32(l.Count), Window: durationpb.New(l.Window)}
}
