// Report usage from the product: each batch counts once, whatever happens on the way. Node 18; nothing to install.
//
//   await send([{ dimension: 'requests', quantity: 3, id: randomUUID() }])
//
//   node report.mjs [URL [SECONDS]] < batches    # a line is a batch: a JSON array of events; exit 0, 65 or 69

import { readFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'

const BACKOFF_MS = 100
const BACKOFF_MS_MAX = 10_000
const TIMEOUT_MS = 10_000

/** The sidecar takes none of these events, now or later: `reason` and `index` say which one and why. */
export class Refused extends Error {
  constructor(status, problem) {
    super(`${status} ${problem?.reason}: ${problem?.detail}`)
    Object.assign(this, { status, reason: problem?.reason, index: problem?.index })
  }
}

/** Time is up, and whether the events count is unknown. Keep them, and send them again with the same ids. */
export class NotKnown extends Error {}

/** Return { accepted, duplicates }. Throws Refused and NotKnown. Every event has its own id. */
export async function send(events, url = 'http://127.0.0.1:8485', seconds = 600) {
  if (!Array.isArray(events) || !events.every((event) => event?.id)) {
    const detail = 'a batch is an array of events, each with an id; without one it could count twice'
    throw new Refused(0, { reason: 'no_id', detail })
  }
  const body = JSON.stringify(events)
  const ends = Date.now() + seconds * 1000
  for (let backoff = BACKOFF_MS; ; backoff = Math.min(2 * backoff, BACKOFF_MS_MAX)) {
    let last
    let after = 0
    try {
      const answer = await post(url, body)
      if (answer.ok) return await answer.json()
      const text = await answer.text()
      if (answer.status !== 429 && answer.status < 500) throw new Refused(answer.status, parsed(text))
      last = `${answer.status} ${text}`
      after = Number(answer.headers.get('Retry-After')) || 0
    } catch (lost) {
      if (lost instanceof Refused) throw lost
      last = String(lost.cause ?? lost) // perhaps kept: the ids make sure that it counts once
    }
    const pause = after * 1000 + Math.random() * backoff
    if (Date.now() + pause > ends) throw new NotKnown(last)
    await sleep(pause)
  }
}

async function post(url, body) {
  const headers = { 'Content-Type': 'application/json' }
  const path = process.env.SIDECAR_API_TOKEN_FILE
  if (path) headers.Authorization = `Bearer ${(await readFile(path, 'utf8')).trim()}`
  return fetch(`${url}/v1/usage`, { method: 'POST', headers, body, signal: AbortSignal.timeout(TIMEOUT_MS) })
}

function parsed(text) {
  try {
    return JSON.parse(text)
  } catch {
    return {}
  }
}

async function main(url, seconds) {
  for await (const line of createInterface({ input: process.stdin })) {
    try {
      console.log(JSON.stringify(await send(JSON.parse(line), url, seconds && Number(seconds))))
    } catch (error) {
      const late = error instanceof NotKnown
      console.error(`${late ? 'not known to be kept' : 'refused'}: ${error.message}`)
      return late ? 69 : 65
    }
  }
  return 0
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  process.exitCode = await main(...process.argv.slice(2))
}
