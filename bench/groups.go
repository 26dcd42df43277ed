package main

import "path/filepath"

// group is servers that run at the same time and are called in the same way.
type group struct {
	security            string   // how they are called, for people and as a part of a file's name
	serveArgs, loadArgs []string // options of the servers, and of the load generator
	comparison
	workloads []workload
}

// comparison is of a server with others.
type comparison struct {
	of         string
	against    []bound
	control    string   // the first of the others once more: how far figures differ by chance
	contenders []string // in the order of their turns: those that are compared closest are neighbours
}

// bound is how much CPU a call should cost at most, as a part of what it costs by
// another server.
type bound struct {
	by     string
	atMost float64 // 0: nothing is aimed at
}

var (
	ofAll = comparison{
		of: ours, against: []bound{{bare, 0.95}, {tuned, 1.05}, {roomy, 0}, {serveHTTP, 0.35}}, control: bareAgain,
		contenders: []string{roomy, ours, tuned, bare, bareAgain, serveHTTP},
	}
	ofIdentity = comparison{
		of: identity, against: []bound{{nobody, 1.03}}, control: nobodyAgain,
		contenders: []string{identity, nobody, nobodyAgain},
	}
)

// callGroups are those of what everything together costs.
func callGroups(dir string) ([]group, error) {
	workloads := []workload{{false, 1}, {false, 16}, {false, 128}, {true, 16}}
	cert := filepath.Join(dir, "cert.pem")
	return []group{
		{"plaintext", nil, nil, ofAll, workloads},
		{"TLS", []string{"-cert", cert}, []string{"-ca", cert}, ofAll, workloads},
	}, writeCert(cert)
}

// identityGroups are those of what it costs to know who calls. What callers
// present is the same, whether it is looked at or not.
func identityGroups(dir string) ([]group, error) {
	workloads := []workload{{false, 16}, {false, 128}}
	cert := filepath.Join(dir, "cert.pem")
	spec, token, err := writeKeys(filepath.Join(dir, "keys.json"))
	if err != nil {
		return nil, err
	}
	return []group{
		{"token", []string{"-auth", spec}, []string{"-token", token}, ofIdentity, workloads},
		{"mTLS", []string{"-auth", "mtls", "-cert", cert, "-ca", cert}, []string{"-ca", cert, "-cert", cert}, ofIdentity, workloads},
	}, writeCert(cert)
}
