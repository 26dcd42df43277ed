package easyops

import (
	"context"
	"fmt"
	"time"

	"github.com/go-easyops/easyops/runtime/flags"
)

// parameters are the flags of the program and the settings of this server, for
// operators. What they change of the latter holds for this server alone.
func (s *Server) parameters() *flags.Set {
	fs := s.cfg.flags
	if s.cfg.isolated {
		fs = nil
	}
	set := flags.NewSet(fs, withoutLevel(s.log), s.ownParameters()...)
	context.AfterFunc(s.life, set.Close)
	return set
}

// ownParameters are the settings as they are in force.
func (s *Server) ownParameters() []flags.Setting {
	var all []flags.Setting
	defaults := newConfig()
	for _, own := range settings {
		p := flags.Setting{
			Name: own.flag(), Usage: own.usage, Type: own.kind, Source: s.cfg.source(own.name),
			Value: own.show(s.cfg), Default: own.show(defaults),
		}
		s.makeDynamic(&p, own.name)
		if p.Source == "default" { // some depend on others
			p.Default = p.Value
		}
		all = append(all, p)
	}
	return all
}

// source says what has given a setting.
func (c *config) source(name string) string {
	if c.given[name] {
		return "option"
	}
	if from := c.from[name]; from != "" {
		return from
	}
	return "default"
}

// makeDynamic lets operators change the settings that can change while the server
// runs.
func (s *Server) makeDynamic(p *flags.Setting, name string) {
	switch name {
	case "log-level":
		s.dynamicLevel(p)
	case "access-log-sample":
		p.Parse = func(text string) (func(), error) {
			n, err := parseSample(text)
			return func() { s.access.sample.Store(sampleOf(n)) }, err
		}
	case "drain-delay":
		p.Default = s.defaultDrainDelay().String()
		p.Parse = func(text string) (func(), error) {
			d, err := parseDuration(text)
			if err == nil {
				err = s.cfg.checkDrainDelay(d)
			}
			return func() { s.drainDelay.Store(int64(d)) }, err
		}
	case "metrics":
		p.Values = []string{"operators", "authenticated", "everyone"}
	}
}

// dynamicLevel is the level of what logs through this server. Where none is set it
// is that of the program's handler.
func (s *Server) dynamicLevel(p *flags.Setting) {
	level, first := s.cfg.level, s.cfg.level.Load()
	p.Values, p.Default = logLevels, leastLevel(s.cfg.handler())
	p.Restore = func() { level.Store(first) }
	p.Parse = func(text string) (func(), error) {
		l, err := parseLevel(text)
		return func() { level.Store(&l) }, err
	}
	if first == nil {
		p.Value = p.Default
	}
}

// sampleOf is a checked sample for the access log.
func sampleOf(n int) uint32 { return uint32(max(n, 0)) }

// checkDrainDelay finds a delay that leaves calls no time to end.
func (c *config) checkDrainDelay(d time.Duration) error {
	if c.shutdownTimeout > 0 && d >= c.shutdownTimeout-reserveOf(c.shutdownTimeout) {
		return fmt.Errorf("leaves calls no time to end within -easyops.shutdown-timeout of %v: make it shorter", c.shutdownTimeout)
	}
	return nil
}
