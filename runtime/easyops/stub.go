package easyops

import "google.golang.org/grpc"

type ServerOption interface{ applyServer() }
type DialOption interface{ applyDial() }
type Server struct{}
type Conn struct{ *grpc.ClientConn }

func Start(services []Service, opts ...ServerOption) (*Server, error) { return nil, nil }
func Dial(service string, opts ...DialOption) (*Conn, error)           { return nil, nil }
