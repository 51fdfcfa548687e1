// Verify in the product that AWS signed an answer to the product's own nonce. Node 18 or newer; nothing to install.
//
//   const nonce = newNonce()
//   verify(await ask(nonce), nonce, 'prod-…', { 1: PEM })   // throws: do not start

import { constants, createPublicKey, randomBytes, verify as verifySignature } from 'node:crypto'

const LEEWAY_SECONDS = 15 * 60
const TOKEN_CHARACTERS_MAX = 16384
const TEXT_HEADERS = ['typ', 'cty', 'kid', 'jku', 'x5u', 'x5t', 'x5t#S256']
const URL_HEADERS = ['jku', 'x5u']
const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g
const STRING_OR_NAME = /"(?:[^"\\]|\\.)*"\s*:?/g

export class ProofRejected extends Error {
  constructor(reason) {
    super(reason) // never anything of the token
    this.reason = reason
  }
}

export class NoProof extends Error {
  constructor(status, reason, hint, retryAfterSeconds) {
    super(`${status} ${reason}: ${hint}`)
    Object.assign(this, { status, reason, hint, retryAfterSeconds })
  }
}

/** Return 32 fresh random bytes as 43 characters. Use each once. */
export function newNonce() {
  return randomBytes(32).toString('base64url')
}

/** Return the sidecar's token for this nonce, not verified. Throws NoProof where the sidecar refuses. */
export async function ask(nonce, url = 'http://127.0.0.1:8485', apiToken = undefined) {
  const headers = { 'Content-Type': 'application/json', ...(apiToken && { Authorization: `Bearer ${apiToken}` }) }
  const signal = AbortSignal.timeout(60_000)
  const reply = await fetch(`${url}/v1/proof`, { method: 'POST', headers, body: JSON.stringify({ nonce }), signal })
  const body = await reply.json().catch(() => ({}))
  if (reply.ok) return body?.token ?? ''
  const after = reply.headers.get('Retry-After')
  throw new NoProof(reply.status, body?.reason, body?.detail, after === null ? undefined : Number(after))
}

/**
 * Prove that AWS signed `token` for this product and nonce, now. Returns the version of the key that signed it.
 * `publicKeys`: version → PEM, those that the product ships. `now`: seconds since 1970. Throws ProofRejected.
 */
export function verify(token, nonce, productCode, publicKeys, now = Date.now() / 1000) {
  let refused
  for (const version of Object.keys(publicKeys).sort((a, b) => b - a)) {
    try {
      check(token, publicKeys[version], { productCode, publicKeyVersion: version, nonce }, now)
      return Number(version)
    } catch (error) {
      if (!(error instanceof ProofRejected)) throw error
      if (!refused || refused.reason === 'token_signature') refused = error
    }
  }
  throw refused ?? new ProofRejected('public_key_unreadable')
}

function check(token, pem, expected, now) {
  const key = readKey(pem)
  if (token === undefined || token === null || token === '') reject('signature_missing')
  if (typeof token !== 'string' || token.length > TOKEN_CHARACTERS_MAX) reject('token_malformed')
  const parts = token.split('.')
  if (parts.length !== 3) reject('token_malformed')
  const [head, payload, signature] = parts.map(decoded)
  checkHeader(members(head).found)
  const signed = Buffer.from(`${parts[0]}.${parts[1]}`)
  const pss = { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }
  if (!verifySignature('sha256', signed, pss, signature)) reject('token_signature')
  const { found, repeated } = members(payload)
  if (repeated) reject('token_contradicts_itself')
  checkRegistered(found)
  for (const [name, wanted] of Object.entries(expected)) {
    if (claim(found, name) !== wanted) reject(reasonOf(name))
  }
  checkAge(found, now)
}

function readKey(pem) {
  let key
  try {
    key = createPublicKey(pem)
  } catch {
    reject('public_key_unreadable')
  }
  return key.asymmetricKeyType === 'rsa' ? key : reject('public_key_unreadable')
}

/** Base64url has one spelling of each text; Node's decoder takes others. */
function decoded(part) {
  const data = Buffer.from(part, 'base64url')
  const text = data.toString('base64url')
  const padded = text + '='.repeat((4 - (text.length % 4)) % 4)
  return part === text || part === padded ? data : reject('token_malformed')
}

/**
 * Return the members of a JSON object, and whether a name is given twice, which JSON.parse does not say. Each text and
 * each name begins with "s" here; a number is the text that was written, behind an "n": 1.0 is not 1.
 */
function members(data) {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data)
    let kept = -1 // the document itself is counted as a member too
    const plain = JSON.parse(text, function (_, value) {
      kept += Array.isArray(this) ? 0 : 1
      return value
    })
    if (typeof plain !== 'object' || plain === null || Array.isArray(plain)) reject('token_malformed')
    const names = (text.match(STRING_OR_NAME) ?? []).filter((one) => one.endsWith(':')).length
    const typed = text.replace(STRING_OR_NUMBER, (one) => (one[0] === '"' ? `"s${one.slice(1)}` : `"n${one}"`))
    return { found: JSON.parse(typed), repeated: names !== kept }
  } catch {
    return reject('token_malformed')
  }
}

function checkHeader(header) {
  if (header.salg !== 'sPS256') reject('token_algorithm')
  if (Object.hasOwn(header, 'scrit') || Object.hasOwn(header, 'sb64')) reject('token_malformed')
  checkTexts(header, TEXT_HEADERS)
  for (const name of URL_HEADERS) {
    if (Object.hasOwn(header, `s${name}`) && !/^https?:\/\//.test(textOf(header[`s${name}`]))) reject('token_malformed')
  }
  const chain = Object.hasOwn(header, 'sx5c') ? header.sx5c : []
  if (!Array.isArray(chain) || chain.some((one) => textOf(one) === undefined)) reject('token_malformed')
  const key = Object.hasOwn(header, 'sjwk') ? header.sjwk : {}
  if (typeof key !== 'object' || key === null || Array.isArray(key)) reject('token_malformed')
}

/** Registered claims have a type; their values mean nothing here, as the product code says for whom a token is. */
function checkRegistered(claims) {
  checkTexts(claims, ['iss', 'sub', 'jti'])
  const audience = Object.hasOwn(claims, 'saud') ? claims.saud : []
  if ([audience].flat().some((one) => textOf(one) === undefined)) reject('token_malformed')
}

function checkTexts(found, names) {
  for (const name of names) {
    if (Object.hasOwn(found, `s${name}`) && textOf(found[`s${name}`]) === undefined) reject('token_malformed')
  }
}

/** Return a claim under either casing; both at once must agree. */
function claim(claims, name) {
  const spellings = [name, name[0].toUpperCase() + name.slice(1)].filter((one) => Object.hasOwn(claims, `s${one}`))
  const values = spellings.map((one) => {
    const value = claims[`s${one}`]
    const isNumber = name === 'publicKeyVersion' && typeof value === 'string' && /^n-?\d+$/.test(value)
    return (isNumber ? value.slice(1) : textOf(value)) ?? reject(reasonOf(name))
  })
  if (values.length === 0) reject(reasonOf(name))
  return values.every((one) => one === values[0]) ? values[0] : reject('token_contradicts_itself')
}

function checkAge(claims, now) {
  const [least, most] = [now - LEEWAY_SECONDS, now + LEEWAY_SECONDS]
  for (const [name, low, high] of [['iat', least, most], ['exp', least, Infinity], ['nbf', 0, most]]) {
    if (!Object.hasOwn(claims, `s${name}`)) continue
    const value = claims[`s${name}`]
    const at = typeof value === 'string' && value[0] === 'n' ? Number(value.slice(1)) : NaN
    if (!(at >= 0 && low <= at && at <= high)) reject(`token_${name}`)
  }
}

function textOf(value) {
  return typeof value === 'string' && value[0] === 's' ? value.slice(1) : undefined
}

function reasonOf(name) {
  return `token_${name.replace(/[A-Z]/g, (one) => `_${one.toLowerCase()}`)}`
}

function reject(reason) {
  throw new ProofRejected(reason)
}
