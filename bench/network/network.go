// Package network measures connections from a sandbox to a server on the host against other roads to the same
// server: loopback itself, a plain proxy between two processes of the host, and the user-mode networks pasta
// and slirp4netns. The same program (probe) plays client and server on all of them.
package network

import (
	"context"
	"errors"
	"strings"

	"github.com/bailey-sandbox/bailey/bench/compare"
	"github.com/bailey-sandbox/bailey/bench/yard"
)

// Names of the roads.
const (
	loopback = "loopback"
	plain    = "plain splice proxy"
	gateway  = "bailey"
	pasta    = "pasta"
	slirp    = "slirp4netns"
)

// Figures, in the order in which the probe prints them.
const (
	up           = "256 MiB up"
	down         = "256 MiB down"
	crowd        = "1,000 connections of 8 clients"
	connection   = "connection, median"
	connection99 = "connection, p99"
	trip         = "round trip, median"
	trip99       = "round trip, p99"
)

func figures() []string {
	return []string{up, down, crowd, connection, connection99, trip, trip99}
}

// targets are about the time of a fixed number of bytes: 0.9 of a throughput is 1/0.9 of the time.
func targets() []compare.Target {
	against := func(figure, peer string, factor, plus float64) compare.Target {
		return compare.Target{Command: gateway + ", " + figure, Peer: peer + ", " + figure, Factor: factor, Plus: plus}
	}
	return []compare.Target{
		against(up, plain, 1/0.9, 0), against(down, plain, 1/0.9, 0),
		against(up, pasta, 1/1.5, 0), against(down, pasta, 1, 0),
		against(up, slirp, 1./3, 0), against(down, slirp, 1, 0),
		against(trip, loopback, 1, 0.3), against(connection, loopback, 1, 0.3),
	}
}

// Run measures program.
func Run(ctx context.Context, dir, program string, rounds int) (report compare.Report, err error) {
	lab, err := OpenLab(ctx, dir)
	if err != nil {
		return report, err
	}
	defer lab.Close()
	h := lab.host
	_, port, _ := strings.Cut(lab.Echo, ":")
	server := "127.0.0.1:" + port
	proxy, err := h.listen("splice", server)
	if err != nil {
		return report, err
	}
	y, err := yard.Open(ctx, dir, program, "--allow", "tcp:"+lab.Echo) // tcp: is carried unread
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, y.Remove(ctx, yard.Name)) }()
	inside, err := lab.CopyProbe(y.Work)
	if err != nil {
		return report, err
	}
	roads := []compare.Command{
		{Name: loopback, Argv: []string{lab.Probe, "measure", server}},
		{Name: plain, Argv: []string{lab.Probe, "measure", proxy}},
		y.Command(gateway, "exec", yard.Name, inside, "measure", lab.Echo),
		h.userMode(ctx, pasta, pastaArgs(), port),
		h.userMode(ctx, slirp, slirpArgs(), port),
	}
	for i := range roads {
		roads[i].Figures = figures()
	}
	report.Versions = []string{yard.First(ctx, y.Program, "version"), yard.First(ctx, "pasta", "--version"), yard.First(ctx, "slirp4netns", "--version")}
	if report.Results, err = compare.Run(ctx, roads, rounds); err != nil {
		return report, err
	}
	report.Verdicts = compare.Judge(report.Results, targets())
	return report, nil
}
