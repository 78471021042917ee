package sniff

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"
)

// MaxHello is the largest ClientHello that is read, records included. Post-quantum key shares and a
// session ticket make a few kilobytes.
const MaxHello = 16 << 10

// extensionECH is encrypted_client_hello (RFC 9849).
const extensionECH = 0xfe0d

// Hello is what a TLS client says before anything is encrypted.
type Hello struct {
	ServerName string   // as it was sent, "" when it was not
	ALPN       []string // the protocols on offer, in the client's order
	ECH        bool     // there is an encrypted ClientHello inside, or what looks like one
}

// ReadHello reads a ClientHello, in however many records it comes, and no more than MaxHello bytes. The
// parser is crypto/tls's own, stopped before it answers: that one also terminates inspected connections,
// so that both see the same name. Its errors say that the bytes are not a whole ClientHello.
func ReadHello(r io.Reader) (Hello, error) {
	var hello *Hello
	config := &tls.Config{GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
		hello = &Hello{ServerName: info.ServerName, ALPN: slices.Clone(info.SupportedProtos),
			ECH: slices.Contains(info.Extensions, extensionECH)}
		return nil, errors.New("enough")
	}}
	err := tls.Server(oneWay{io.LimitReader(r, MaxHello)}, config).Handshake()
	if hello == nil {
		return Hello{}, fmt.Errorf("cannot read the TLS client's hello: %w", err)
	}
	return *hello, nil
}

// oneWay is a connection that only reads: the alerts of the server that never was go nowhere.
type oneWay struct{ io.Reader }

func (oneWay) Write(b []byte) (int, error)      { return len(b), nil }
func (oneWay) Close() error                     { return nil }
func (oneWay) LocalAddr() net.Addr              { return nil }
func (oneWay) RemoteAddr() net.Addr             { return nil }
func (oneWay) SetDeadline(time.Time) error      { return nil }
func (oneWay) SetReadDeadline(time.Time) error  { return nil }
func (oneWay) SetWriteDeadline(time.Time) error { return nil }
