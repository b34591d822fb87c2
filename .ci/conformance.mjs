// Runs the HTTP cache tests through a proxy. See .ci/conformance.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import http from 'node:http'
import path from 'node:path'
import readline from 'node:readline'

const SECONDS = 300
const AT_ONCE = 25

const [tools, binary, store, passFile, lostFile, mode] = process.argv.slice(2)
const suite = path.resolve(tools, 'suite')
const load = async file => await import(path.join(suite, file))

// The suite's handlers on a server of our own: its own listens on all interfaces.
async function startOrigin () {
  const handlers = {}
  for (const name of ['config', 'state', 'test']) {
    handlers[name] = (await load(`server/handle-${name}.mjs`)).default
  }
  const server = http.createServer((request, response) => {
    const [name, ...rest] = new URL(request.url, 'http://origin').pathname.slice(1).split('/')
    if (name in handlers) return handlers[name](rest, request, response)
    response.writeHead(404).end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return `http://127.0.0.1:${server.address().port}`
}

async function startProxy (upstream) {
  const proxy = spawn(binary, ['--listen', '127.0.0.1:0', '--upstream', upstream, '--store', store],
    { stdio: ['ignore', 'pipe', 'inherit'] })
  process.on('exit', () => proxy.kill())
  proxy.on('exit', code => { console.error(`the proxy ended: ${code}`); process.exit(2) })
  const [line] = await once(readline.createInterface({ input: proxy.stdout }), 'line')
  return line
}

// What shared caches and CDNs have to do, and browsers alone can.
const isForPrivateCaches = test => !test.cdn_only && !test.id.startsWith('surrogate-') &&
  !/-shared|^other-authorization|^stale-close-(proxy-revalidate|s-maxage)/.test(test.id)

setTimeout(() => { console.error(`not done after ${SECONDS} s`); process.exit(2) }, SECONDS * 1000).unref()

const groups = (await load('tests/index.mjs')).default
const tests = groups.flatMap(group => group.tests).filter(isForPrivateCaches)
const proxy = await startProxy(await startOrigin())
const { runTests, getResults } = await load('client/runner.mjs')
const fetch = (await import(path.resolve(tools, 'node_modules/node-fetch/lib/index.mjs'))).default
const log = console.log
console.log = () => {} // The handlers report each odd request.
await runTests(groups, fetch, false, proxy, AT_ONCE)
console.log = log

// A test counts if all those that it builds on pass, too.
const results = getResults()
const byId = new Map(groups.flatMap(group => group.tests).map(test => [test.id, test]))
const passes = id => results[id] === true && (byId.get(id).depends_on ?? []).every(passes)

const kinds = { required: [], optimal: [], check: [] }
for (const test of tests) kinds[test.kind ?? 'required'].push(test)
for (const [kind, all] of Object.entries(kinds)) {
  console.log(`${kind.padEnd(9)} ${all.filter(test => passes(test.id)).length} of ${all.length}`)
}
for (const test of [...kinds.required, ...kinds.optimal].filter(test => !passes(test.id))) {
  const result = results[test.id]
  const why = result === undefined ? 'only for browsers' : result === true ? 'builds on another' : result[1]
  console.log(`  ${test.kind ?? 'required'}  ${test.id}: ${why}`)
}

const passed = [...kinds.required, ...kinds.optimal].map(test => test.id).filter(passes).sort()
if (mode === '--bless') fs.writeFileSync(passFile, passed.join('\n') + '\n')
const expected = fs.readFileSync(passFile, 'utf8').split('\n').filter(id => id && !id.startsWith('#'))
const lost = expected.filter(id => !passed.includes(id))
const won = passed.filter(id => !expected.includes(id))
if (won.length) console.log(`passed, and not in ${passFile}: ${won.join(' ')}`)
const report = (what, ids) => { if (ids.length) console.error(`${what}: ${ids.join(' ')}`) }
if (!fs.existsSync(lostFile)) {
  report('not passed this time', lost)
  fs.writeFileSync(lostFile, lost.join('\n'))
  process.exit(lost.length ? 1 : 0)
}
const before = fs.readFileSync(lostFile, 'utf8').split('\n')
const twice = lost.filter(id => before.includes(id))
report('passed in one of two runs', [...before, ...lost].filter(id => !twice.includes(id)))
report('no longer passed', twice)
process.exit(twice.length ? 1 : 0)
