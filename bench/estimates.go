package main

import "time"

// tellEstimate says how long a run takes, before it does.
func tellEstimate(s settings, parts []part) error {
	var all time.Duration
	for _, p := range parts {
		takes, err := p.takes(s.of(p.name))
		if err != nil {
			return err
		}
		progress("%s: about %v", p.name, roughly(takes))
		all += takes
	}
	progress("all: about %v, and what it takes to build the programs", roughly(all))
	return nil
}

// roughly has no more digits than an estimate deserves.
func roughly(d time.Duration) time.Duration {
	if d < 2*time.Minute {
		return d.Round(time.Second)
	}
	return d.Round(time.Minute)
}

type takes = func(settings) (time.Duration, error)

// perPair is for what takes as long for each pair. The times were those of two
// cores.
func perPair(each time.Duration) takes {
	return func(s settings) (time.Duration, error) { return time.Duration(s.pairs) * each, nil }
}

// startTakes counts starts: most take a tenth of a second, some peers several.
func startTakes(s settings) (time.Duration, error) {
	servers := len(starters)
	if s.startsPeers() {
		servers += len(peerNames)
	}
	return time.Duration(s.pairs*startsPerPair*servers) * 150 * time.Millisecond, nil
}

// benchmarks are how long those of a package take: each somewhat longer than it is
// told to, since it has to find out how often that is.
func benchmarks(s settings, n int) time.Duration {
	return time.Duration(benchmarkRuns(s)*n) * s.slice * 3 / 2
}

func allocationsTake(s settings) (time.Duration, error) {
	return benchmarks(s, len(memoryKinds)*len(memoryServers)), nil
}

func tablesTake(s settings) (time.Duration, error) { return benchmarks(s, 5*len(tables)), nil }

func callsTake(groups func(dir string) ([]group, error)) takes {
	return func(s settings) (time.Duration, error) {
		list, err := groups(s.dir)
		return estimate(s, list), err
	}
}

func peersTake(s settings) (time.Duration, error) {
	list, err := peerGroups(s.dir, nil)
	return min(peersAtMost, estimate(s, list)), err
}

// edgeTakes is that of calls, plaintext and TLS, by three ways, and of transfers.
func edgeTakes(s settings) (time.Duration, error) {
	turns := time.Duration(s.pairs * turnsPerPair * 2 * 3 * len(edgeWorkloads))
	return turns*s.slice*12/10 + time.Duration(s.pairs)*10*time.Second, nil
}

// clientTakes is that of calls, and of lists of many instances, which take minutes
// to come to rest.
func clientTakes(s settings) (all time.Duration, err error) {
	for _, c := range clientCases(s.pairs) {
		processes := (c.turns + turnsPerProcess - 1) / turnsPerProcess
		all += time.Duration(c.turns*len(c.clients)*len(c.concurrency)) * s.slice
		all += time.Duration(processes*c.instances) * 25 * time.Millisecond
	}
	return all + time.Minute, nil
}

func operationTakes(s settings) (time.Duration, error) {
	slice := 4500 * time.Millisecond
	if s.pairs < quickPairs {
		slice = 2500 * time.Millisecond
	}
	return time.Duration(2*s.pairs*len(modes)) * slice, nil
}
