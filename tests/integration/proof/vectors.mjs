// Print the verdict of each vector: a line of base64 fields in, its name and verdict out. With arguments (address, nonce,
// product code, PEM) ask a sidecar instead, and print the key version of its verified proof.
import { readFileSync } from 'node:fs'
import { ask, ProofRejected, verify } from './proof.mjs'

const text = (field) => Buffer.from(field, 'base64').toString()

const [address, given, code, pem] = process.argv.slice(2)
if (address) {
  console.log(verify(await ask(given, address), given, code, { 1: pem }))
  process.exit()
}

for (const line of readFileSync(0, 'utf8').trimEnd().split('\n')) {
  const [name, token, nonce, product, now, keys] = line.split('\t')
  const publicKeys = {}
  for (const one of keys ? keys.split(',') : []) publicKeys[one.split(':')[0]] = text(one.split(':')[1])
  let verdict = 'verified'
  try {
    verify(text(token), text(nonce), text(product), publicKeys, Number(now))
  } catch (error) {
    verdict = error instanceof ProofRejected ? error.reason : String(error)
  }
  console.log(`${name}\t${verdict}`)
}
