package easyops

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/status"
)

// operator is one of those whom -easyops.operators names.
type operator struct {
	kind string // group, user or service
	name string
}

func (o operator) String() string { return o.kind + ":" + o.name }

func (c *config) setOperators(s string) error {
	c.operators = nil
	for one := range strings.SplitSeq(s, ",") {
		kind, name, _ := strings.Cut(strings.TrimSpace(one), ":")
		if !slices.Contains([]string{"group", "user", "service"}, kind) || name == "" {
			return errors.New("not a list of operators: write it like group:sre,user:alice,service:deployer")
		}
		c.operators = append(c.operators, operator{kind, name})
	}
	return nil
}

// is tells whether the identity is the operator. A service is one only where it
// calls for itself, because a user must not gain by calling through it.
func (o operator) is(id auth.Identity) bool {
	switch o.kind {
	case "user":
		return id.User != nil && id.User.ID == o.name
	case "group":
		return auth.Access{Groups: []string{o.name}}.Check(id) == nil
	case "service":
		return id.User == nil && auth.Access{Services: []string{o.name}}.Check(id) == nil
	}
	return false
}

// operator decides who is operator.
func (s *Server) operator() status.Authorizer {
	switch s.trust {
	case standalone:
		return s.withoutToken(status.LocalOperator())
	case insecure:
		return status.NobodyOperator("it runs with -easyops.auth=insecure-none")
	case open:
		return status.NobodyOperator("it is open to everyone and authenticates nobody")
	default:
		return s.knownOperator
	}
}

// withoutToken refuses who presents a token, as calls are refused.
func (s *Server) withoutToken(decide status.Authorizer) status.Authorizer {
	return func(r *http.Request) (string, error) {
		if _, err := s.pageCaller(r); err != nil {
			return "", err
		}
		return decide(r)
	}
}

// knownOperator accepts those whom -easyops.operators names.
func (s *Server) knownOperator(r *http.Request) (string, error) {
	caller, err := s.knownCaller(r)
	if err != nil {
		return "", err
	}
	if slices.ContainsFunc(s.cfg.operators, func(o operator) bool { return o.is(caller.Identity) }) {
		return caller.String(), nil
	}
	if len(s.cfg.operators) == 0 {
		return caller.String(), status.Errorf(http.StatusForbidden, "nobody is operator of this server: name operators by -easyops.operators (EASYOPS_OPERATORS, WithOperators)")
	}
	return caller.String(), status.Errorf(http.StatusForbidden, "%s is no operator of this server: -easyops.operators names them", caller)
}

// knownReader accepts everyone with an identity.
func (s *Server) knownReader(r *http.Request) (string, error) {
	caller, err := s.knownCaller(r)
	if err != nil {
		return "", err
	}
	return caller.String(), nil
}

// knownCaller returns who asks for a page, or an error where that is nobody.
func (s *Server) knownCaller(r *http.Request) (auth.Caller, error) {
	caller, err := s.pageCaller(r)
	if err == nil && caller.Identity == (auth.Identity{}) {
		err = pageRefusal(s.refusal(auth.ErrUnauthenticated))
	}
	return caller, err
}

// pageCaller returns who asks for a page. The error is the answer; what is wrong
// is in the log.
func (s *Server) pageCaller(r *http.Request) (caller auth.Caller, err error) {
	panicked := s.guard(r.Context(), "authenticator", func() { caller, err = s.identify(r.Context(), s.presentedBy(r)) })
	if panicked != nil {
		return auth.Caller{}, status.Errorf(http.StatusInternalServerError, "%v", panicked)
	}
	if err != nil {
		s.access.refusedPage(r, err)
		return auth.Caller{}, pageRefusal(s.refusal(err))
	}
	return caller, nil
}

// pageRefusal is a refusal as the status pages answer it.
func pageRefusal(refusal error) error {
	code, text := httpRefusal(refusal)
	return status.Errorf(code, "%s", text)
}

// metricsReader decides who may read the metrics; nil means operators.
func (s *Server) metricsReader() status.Authorizer {
	switch {
	case s.cfg.metricsAccess == "everyone":
		return status.Anyone
	case s.cfg.metricsAccess == "authenticated" && s.trust == authenticated:
		return s.knownReader
	}
	return nil
}

// metricsFor names the readers of metrics as the help page does.
func (s *Server) metricsFor() string {
	if s.metricsReader() == nil {
		return "operator"
	}
	return s.cfg.metricsAccess
}

// describeOperators names the operators for people.
func (s *Server) describeOperators() string {
	switch {
	case s.trust == standalone:
		return "who runs the server, on this machine"
	case len(s.cfg.operators) == 0:
		return "nobody"
	}
	names := make([]string, 0, len(s.cfg.operators))
	for _, o := range s.cfg.operators {
		names = append(names, fmt.Sprint(o))
	}
	return strings.Join(names, ", ")
}
