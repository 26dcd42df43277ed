package routing

import (
	"encoding/json"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Retries, as in gRFC A6. The tokens of the throttle are for the calls that one
// instance has under way when it dies: half of them can be used up at once.
const (
	attempts   = 3
	maxTokens  = 1000
	tokenRatio = 0.1 // of one for each call that succeeds
)

// Idempotent returns the names of the methods of a service that are marked by
// idempotency_level as NO_SIDE_EFFECTS or IDEMPOTENT, as [Config.Idempotent] has
// them: none where the service's generated code is not linked into the program.
func Idempotent(service string) (names []string) {
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil
	}
	s, ok := d.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil
	}
	for n := range s.Methods().Len() {
		m := s.Methods().Get(n)
		o, _ := m.Options().(*descriptorpb.MethodOptions)
		switch o.GetIdempotencyLevel() {
		case descriptorpb.MethodOptions_NO_SIDE_EFFECTS, descriptorpb.MethodOptions_IDEMPOTENT:
			names = append(names, string(m.Name()))
		}
	}
	return names
}

// methods returns the names of methods as gRPC has them.
func methods(service string, names []string) map[string]bool {
	all := make(map[string]bool, len(names))
	for _, n := range names {
		all["/"+service+"/"+n] = true
	}
	return all
}

// serviceConfig returns the service config that chooses our balancer, and lets
// gRPC send calls of these methods again. It has no policy for others.
func serviceConfig(c *policyConfig, idempotent []string) string {
	config := map[string]any{
		"loadBalancingConfig": []any{map[string]any{policyName: c}},
	}
	if len(idempotent) > 0 {
		names := make([]any, len(idempotent))
		for n, method := range idempotent {
			names[n] = map[string]string{"service": c.Service, "method": method}
		}
		config["methodConfig"] = []any{map[string]any{
			"name": names,
			"retryPolicy": map[string]any{
				"maxAttempts": attempts, "initialBackoff": "0.05s", "maxBackoff": "1s", "backoffMultiplier": 2,
				"retryableStatusCodes": []string{"UNAVAILABLE"},
			},
		}}
		config["retryThrottling"] = map[string]any{"maxTokens": maxTokens, "tokenRatio": tokenRatio}
	}
	text, _ := json.Marshal(config) // strings and numbers
	return string(text)
}
