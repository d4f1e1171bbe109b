// Logs in to 127.0.0.1:PORT again and again with one session cache: go run resume.go PORT CA-FILE TIMES.
// Prints whether each TLS session was resumed.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func packet(code uint32, body string) []byte {
	bytes := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
	return append(binary.BigEndian.AppendUint32(bytes, code), body...)
}

func login(address string, config *tls.Config) bool {
	plain, err := net.Dial("tcp", address)
	check(err)
	defer plain.Close()
	_, err = plain.Write(packet(80877103, ""))
	check(err)
	answer := make([]byte, 1)
	_, err = io.ReadFull(plain, answer)
	check(err)
	connection := tls.Client(plain, config)
	_, err = connection.Write(packet(196608, "user\x00trusted\x00database\x00postgres\x00\x00"))
	check(err)
	for header := make([]byte, 5); header[0] != 'Z'; {
		_, err = io.ReadFull(connection, header)
		check(err)
		_, err = io.CopyN(io.Discard, connection, int64(binary.BigEndian.Uint32(header[1:]))-4)
		check(err)
	}
	_, err = connection.Write([]byte{'X', 0, 0, 0, 4})
	check(err)
	check(connection.Close())
	return connection.ConnectionState().DidResume
}

func main() {
	authorities := x509.NewCertPool()
	text, err := os.ReadFile(os.Args[2])
	check(err)
	authorities.AppendCertsFromPEM(text)
	times, err := strconv.Atoi(os.Args[3])
	check(err)
	config := &tls.Config{
		RootCAs:            authorities,
		ServerName:         "localhost",
		ClientSessionCache: tls.NewLRUClientSessionCache(8),
	}
	for range times {
		fmt.Println(login("127.0.0.1:"+os.Args[1], config))
	}
}
