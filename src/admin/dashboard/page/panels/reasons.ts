/** Reasons of the cache in words (docs/cache-status.md has all of them). */
const REASON_WORDS: Readonly<Record<string, string>> = {
  'not-public': 'No rule and no header says that it may be shared: add a rule with `ttl`',
  'no-lifetime': 'Nothing says how long it is fresh: set `ttl` in the rule',
  private: 'The handler sent `Cache-Control: private`',
  'no-store': 'The handler sent `no-store`',
  'no-cache': 'The handler sent `no-cache`: send `max-age` instead',
  'set-cookie': 'The response sets a cookie, which belongs to one client',
  status: 'The status is not 200, 301 or 308',
  rule: 'A path with `cache: false`, or the tags of its rule failed',
  'vary-cookie': 'It varies by cookie: name the cookies that matter',
  'vary-authorization': 'It varies by `Authorization`: cache beside the handler, with a partition',
  'vary-star': '`Vary: *`: name the headers that it depends on',
  'too-large': 'The body is larger than `maxEntryBytes`',
  'event-stream': 'An event stream never ends',
  broken: 'The response ended before it was complete',
  purged: 'A purge came while the handler ran',
  superseded: 'Another response took its place meanwhile',
  skip: 'The handler kept it out of the cache',
  route: 'Another route answered than the rule was written for',
  authorization: 'The request has `Authorization`: cache beside the handler, with a partition',
  cookie: 'The request has a cookie: set `cookies` in the rule if none matters',
  'x-api-key': 'The request has an API key: cache beside the handler, with a partition',
  'no-partition': '`partition` returned nothing for the request',
  when: '`when` of the rule returned false',
  method: 'The method changes something',
  body: 'The request has a body',
  head: 'A HEAD, and nothing is stored for it',
  range: 'A range, and nothing is stored to take it from',
  conditional: 'The request has a condition that is for writes',
  'anonymous-fill': 'The cookie is ignored; a request without it fills the entry',
};

/** A reason in words; a reason of the app has none. */
export function explainReason(reason: string): string {
  return Object.hasOwn(REASON_WORDS, reason) ? REASON_WORDS[reason]! : '';
}
