// Print the verdict of each vector: a line of base64 fields in, its name and verdict out. With arguments (address, nonce,
// product code, PEM) ask a sidecar instead, and print the key version of its verified proof.
package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"example/proof"
)

func text(field string) string {
	data, err := base64.StdEncoding.DecodeString(field)
	if err != nil {
		panic(err)
	}
	return string(data)
}

func ask(url, nonce, product, pem string) {
	token, err := proof.Ask(url, nonce, "")
	if err != nil {
		panic(err)
	}
	version, err := proof.Verify(token, nonce, product, map[int]string{1: pem}, time.Now())
	if err != nil {
		panic(err)
	}
	fmt.Println(version)
}

func main() {
	if given := os.Args[1:]; len(given) == 4 {
		ask(given[0], given[1], given[2], given[3])
		return
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), "\t")
		keys := map[int]string{}
		for _, one := range strings.Split(fields[5], ",") {
			if version, pem, there := strings.Cut(one, ":"); there {
				number, _ := strconv.Atoi(version)
				keys[number] = text(pem)
			}
		}
		seconds, _ := strconv.ParseInt(fields[4], 10, 64)
		verdict := "verified"
		_, err := proof.Verify(text(fields[1]), text(fields[2]), text(fields[3]), keys, time.Unix(seconds, 0))
		if err != nil {
			verdict = err.Error()
		}
		fmt.Printf("%s\t%s\n", fields[0], verdict)
	}
}
