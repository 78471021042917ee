//go:build !linux

// Package cgroup bounds the processes of one sandbox. Only Linux has control groups: elsewhere it is empty.
package cgroup
