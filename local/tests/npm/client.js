// What applications do with the `openwhisk` package, against the platform at $__OW_API_HOST.
'use strict'
const assert = require('node:assert')
const openwhisk = require('openwhisk')
const ow = openwhisk({ apihost: process.env.__OW_API_HOST, api_key: process.env.__OW_API_KEY })

const exec = { kind: 'blackbox', image: 'probe' }
const ended = async (activationId) => {
  for (;;) {
    try {
      return await ow.activations.get({ activationId })
    } catch (error) {
      assert.strictEqual(error.statusCode, 404)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
}
const refused = (promise, statusCode) => assert.rejects(promise, (error) => {
  assert.strictEqual(error.statusCode, statusCode, error.message)
  return true
})

const main = async () => {
  const created = await ow.actions.create({
    name: 'hello', action: { exec, limits: { timeout: 3000 }, parameters: [{ key: 'a', value: 1 }] }
  })
  assert.strictEqual(created.version, '0.0.1')
  await refused(ow.actions.create({ name: 'hello', action: { exec } }), 409)
  const updated = await ow.actions.update({ name: 'hello', action: { exec }, annotations: { 'provide-api-key': true } })
  assert.strictEqual(updated.version, '0.0.2')
  assert.deepStrictEqual((await ow.actions.get('hello')).limits.timeout, 3000)
  assert.deepStrictEqual((await ow.actions.list()).map((action) => action.name), ['hello'])
  assert.deepStrictEqual((await ow.actions.list({ limit: 1, skip: 1 })), [])

  const result = await ow.actions.invoke({ name: 'hello', blocking: true, result: true, params: { b: 2 } })
  assert.deepStrictEqual(result.body.value, { a: 1, b: 2 })
  const whole = await ow.actions.invoke({ actionName: '/_/hello', blocking: true })
  assert.strictEqual(whole.response.status, 'success')
  const { activationId } = await ow.actions.invoke({ name: 'hello', params: { print: 'said', sleep_ms: 20 } })
  const record = await ended(activationId)
  assert.strictEqual(record.name, 'hello')
  const { logs } = await ow.activations.logs({ activationId })
  assert.ok(logs.some((line) => line.endsWith('stdout: said')), logs)
  assert.ok((await ow.activations.result(activationId)).success)
  assert.ok((await ow.activations.list({ name: 'hello', limit: 5 })).length >= 1)

  await refused(ow.actions.invoke({ name: 'hello', blocking: true, params: { body: '{"error":"e"}' } }), 502)
  await refused(ow.actions.invoke({ name: 'hello', blocking: true, params: { exit: 3 } }), 502)
  await refused(ow.actions.invoke({ name: 'hello', params: { long: 'x'.repeat(1 << 20) } }), 413)
  await refused(ow.actions.invoke('nobody'), 404)
  await refused(ow.activations.get('0'.repeat(32)), 404)
  await refused(openwhisk({ apihost: process.env.__OW_API_HOST, api_key: 'a:b' }).actions.list(), 401)

  await ow.packages.update({ name: 'pkg', package: { parameters: [{ key: 'p', value: 7 }] } })
  await ow.actions.update({ name: 'pkg/inner', action: { exec } })
  const inner = await ow.actions.invoke({ name: 'pkg/inner', blocking: true, result: true })
  assert.deepStrictEqual(inner.body.value, { p: 7 })
  assert.strictEqual(inner.body.action_name, '/guest/pkg/inner')
  assert.deepStrictEqual((await ow.packages.list()).map((each) => each.name), ['pkg'])
  await ow.actions.delete('pkg/inner')
  await ow.packages.delete('pkg')
  await ow.actions.delete('hello')
  await refused(ow.actions.get('hello'), 404)
  assert.deepStrictEqual(await ow.namespaces.list(), ['guest'])
}

main().then(() => console.log('done'), (error) => {
  console.error(error)
  process.exit(1)
})
