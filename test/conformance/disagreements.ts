/** A request, its response, and a later request. */
export interface Exchange {
  readonly method: 'GET' | 'HEAD';
  readonly first: Record<string, string>;
  readonly status: number;
  readonly response: Record<string, string>;
  readonly second: Record<string, string>;
  readonly secondMethod: 'GET' | 'HEAD';
  /** The response of the handler from the second run on. */
  readonly later: 'same' | 'error' | 'not-modified';
}

export interface Decision {
  readonly isStored: boolean;
  /** Freshness lifetime when it is stored. Seconds. */
  readonly ttl: number | undefined;
  /** The result of the second request. */
  readonly use: 'hit' | 'while-revalidate' | 'stand-in' | 'forward';
  /** The `If-None-Match` and `If-Modified-Since` that the handler receives. */
  readonly conditions: string;
}

export interface Compared {
  readonly exchange: Exchange;
  readonly seconds: number;
  readonly ours: Decision;
  readonly theirs: Decision;
}

export interface Disagreement {
  readonly name: string;
  /** The section of the RFC that decides, and why hotpath is right. */
  readonly why: string;
  readonly holds: (compared: Compared) => boolean;
}

const cacheControl = ({ response }: Exchange) => response['cache-control'] ?? '';
const says = (exchange: Exchange, pattern: RegExp) => pattern.test(cacheControl(exchange));
/** The directive names in `Cache-Control`, without quoted strings. */
const directives = (exchange: Exchange) =>
  cacheControl(exchange)
    .replace(/"[^"]*"/g, '""')
    .toLowerCase()
    .split(',')
    .map((member) => member.trim());
const givesTwice = (exchange: Exchange) =>
  /\b(s-maxage|max-age)\b.*\b(?<!-)\1\b/i.test(cacheControl(exchange));
const hasExplicitLifetime = (exchange: Exchange) =>
  exchange.response.expires !== undefined ||
  directives(exchange).some((name) => /^(?:s-maxage|max-age|public)\b/.test(name));
const wishes = ({ second }: Exchange) => second['cache-control'] ?? second.pragma;
/** Statuses that http-cache-semantics understands; it stores no others. */
const UNDERSTOOD_THERE = new Set([200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501]);
const bothForward = ({ ours, theirs }: Compared) => ours.use === 'forward' && theirs.use === 'forward';
const isLessWilling = ({ ours, theirs }: Compared) => ours.use === 'forward' && theirs.use !== 'forward';

/** All known differences between this cache and http-cache-semantics. Each was checked against the RFC. */
export const reviewed: readonly Disagreement[] = [
  {
    name: 'stores less than it may',
    why: 'RFC 9111 §3 says what may be stored, not what must be; here nothing would be served from it in either case.',
    holds: (compared) => !compared.ours.isStored && compared.theirs.isStored && bothForward(compared),
  },
  {
    name: 'stores no HEAD',
    why: 'RFC 9111 §3 permits it, and does not ask for it: there is no body to store.',
    holds: ({ exchange, ours }) => exchange.method === 'HEAD' && !ours.isStored,
  },
  {
    name: 'asks without conditions',
    why: 'RFC 9111 §4.3: a cache can validate with conditions, and need not. This one does not for HEAD, nor with credentials.',
    holds: (compared) =>
      bothForward(compared) &&
      compared.ours.isStored === compared.theirs.isStored &&
      compared.ours.conditions === '- -' &&
      (compared.exchange.secondMethod === 'HEAD' || compared.exchange.second.authorization !== undefined),
  },
  {
    name: 'knows every final status',
    why: 'RFC 9111 §3: a status must be understood only where must-understand is given. The lifetime must be explicit.',
    holds: ({ exchange, ours, theirs }) =>
      ours.isStored &&
      !theirs.isStored &&
      !UNDERSTOOD_THERE.has(exchange.status) &&
      hasExplicitLifetime(exchange) &&
      !directives(exchange).includes('must-understand'),
  },
  {
    name: 'knows statuses that http-cache-semantics does not, with must-understand',
    why: 'RFC 9111 §5.2.2.3: the cache implements what RFC 9110 §15 asks of 400, 403, 500 and 503.',
    holds: ({ exchange, ours, theirs }) =>
      ours.isStored &&
      !theirs.isStored &&
      [400, 403, 500, 503].includes(exchange.status) &&
      hasExplicitLifetime(exchange),
  },
  {
    name: 'reads names of directives in any case',
    why: 'RFC 9111 §5.2: they are case-insensitive; http-cache-semantics compares them as they are.',
    holds: ({ exchange }) => says(exchange, /Public|MAX-AGE/),
  },
  {
    name: 'reads no directives inside quoted strings',
    why: 'RFC 9111 §5.2, RFC 9110 §5.6.4: a comma in a quoted string ends no directive.',
    holds: ({ exchange, ours }) =>
      says(exchange, /ext="a, no-store"/) && (ours.isStored || !directives(exchange).includes('no-store')),
  },
  {
    name: 'private with field names concerns those fields alone',
    why: 'RFC 9111 §5.2.2.7.',
    holds: ({ exchange, theirs }) => says(exchange, /private="x-secret"/) && !theirs.isStored,
  },
  {
    name: 'no-cache with field names concerns those fields alone',
    why: 'RFC 9111 §5.2.2.4.',
    holds: ({ exchange, theirs, ours }) =>
      says(exchange, /no-cache="x-secret"/) &&
      !directives(exchange).includes('no-cache') &&
      (theirs.ttl ?? 0) <= 0 &&
      ours.isStored,
  },
  {
    name: 'stores responses with Set-Cookie',
    why: 'RFC 9111 §7.3: Set-Cookie does not prevent it; the safe profile refuses them.',
    holds: ({ exchange, ours }) => exchange.response['set-cookie'] !== undefined && ours.isStored,
  },
  {
    name: 'must-revalidate concerns stale responses alone',
    why: 'RFC 9111 §5.2.2.2; http-cache-semantics never uses such a response without validation.',
    holds: ({ exchange, ours, theirs }) =>
      ours.use === 'hit' && theirs.use !== 'hit' && says(exchange, /must-revalidate/),
  },
  {
    name: 'proxy-revalidate concerns stale responses alone',
    why: 'RFC 9111 §5.2.2.8; http-cache-semantics gives such a response no lifetime.',
    holds: ({ exchange, theirs, ours }) =>
      says(exchange, /proxy-revalidate/) &&
      ours.isStored &&
      theirs.isStored &&
      (ours.use === 'forward' || (ours.ttl ?? 0) >= (theirs.ttl ?? 0)),
  },
  {
    name: 'counts the age from Date too',
    why: 'RFC 9111 §4.2.3: the apparent age; http-cache-semantics takes Age alone.',
    holds: ({ exchange, ours, theirs }) => {
      if (exchange.response.date === undefined || !theirs.isStored) return false;
      // Dates are now, or twenty seconds ago.
      if (!ours.isStored) return ours.use === 'forward' && (theirs.ttl ?? 0) <= 21;
      const older = (theirs.ttl ?? 0) - (ours.ttl ?? 0);
      return older >= 15 && older <= 21 && (ours.use === theirs.use || ours.use !== 'hit');
    },
  },
  {
    name: 'takes an error for no response',
    why: 'RFC 9111 §4.2.4 and §4.3.3: a stale response may be used when the origin answers 5xx, unless that is forbidden.',
    holds: ({ exchange, ours, theirs }) =>
      ours.use === 'stand-in' &&
      theirs.use === 'forward' &&
      (exchange.later === 'error' || exchange.status >= 500) &&
      !directives(exchange).some((name) =>
        ['must-revalidate', 'proxy-revalidate', 'no-cache', 'no-store'].includes(name),
      ),
  },
  {
    name: 'a request that insists gets the error',
    why: 'RFC 9111 §5.2.1: no-cache, max-age and min-fresh ask for more than what is stored, whatever it may stand in for.',
    holds: ({ exchange, ours, theirs }) =>
      ours.use === 'forward' &&
      theirs.use === 'stand-in' &&
      exchange.later === 'error' &&
      wishes(exchange) !== undefined,
  },
  {
    name: 'another variant does not stand in for an error',
    why: 'RFC 9111 §4.1: a response selected by other request headers must not be used without validation.',
    holds: ({ exchange, ours, theirs }) =>
      ours.use === 'forward' &&
      theirs.use === 'stand-in' &&
      exchange.later === 'error' &&
      exchange.response.vary !== undefined &&
      (exchange.first['accept-language'] !== exchange.second['accept-language'] ||
        /[*]|a b/.test(exchange.response.vary)),
  },
  {
    name: 'immutable gives no lifetime',
    why: 'RFC 8246 §2: it speaks of the time while the response is fresh.',
    holds: ({ exchange, ours, theirs }) =>
      says(exchange, /immutable/) && (theirs.ttl ?? 0) > 100_000 && (ours.ttl ?? 0) < 100_000,
  },
  {
    name: 's-maxage forbids staleness',
    why: 'RFC 9111 §5.2.2.10: it incorporates proxy-revalidate, which max-stale does not override (§4.2.4).',
    holds: (compared) => isLessWilling(compared) && says(compared.exchange, /s-maxage/),
  },
  {
    name: 'must-revalidate and no-cache are overridden neither by max-stale nor by stale-if-error',
    why: 'RFC 9111 §4.2.4, §5.2.2.2, §5.2.2.4.',
    holds: (compared) =>
      isLessWilling(compared) &&
      says(compared.exchange, /revalidate|no-cache/) &&
      (/max-stale/.test(String(wishes(compared.exchange))) || compared.theirs.use === 'stand-in'),
  },
  {
    name: 'the worst of a lifetime that is invalid or given twice',
    why: 'RFC 9111 §4.2.1 encourages caches to take invalid freshness for stale; http-cache-semantics reads what it can of the last.',
    holds: ({ exchange, ours, theirs }) =>
      (ours.use === theirs.use || ours.use !== 'hit') &&
      (ours.ttl ?? 0) <= (theirs.ttl ?? 0) + 1 &&
      (says(exchange, /max-age=(?:abc|-1|1\.5)|s-maxage=x|max-age(?:,|\s|$)/) || givesTwice(exchange)),
  },
  {
    name: 'a stored GET answers a HEAD',
    why: 'RFC 9111 §4, RFC 9110 §9.3.2; http-cache-semantics wants the same method.',
    holds: ({ exchange, ours, theirs }) =>
      ['hit', 'while-revalidate'].includes(ours.use) &&
      !['hit', 'while-revalidate'].includes(theirs.use) &&
      exchange.secondMethod === 'HEAD' &&
      exchange.method === 'GET',
  },
  {
    name: 'a Vary that is no list of names forbids storing',
    why: 'RFC 9111 §4.1, RFC 9110 §12.5.5: what cannot be read cannot select.',
    holds: ({ exchange, ours }) => exchange.response.vary === 'a b' && !ours.isStored,
  },
  {
    name: 'what has no lifetime and no validator is not kept for max-stale',
    why: 'RFC 9111 §3 permits storing it, and does not ask for it.',
    holds: (compared) =>
      !compared.ours.isStored &&
      isLessWilling(compared) &&
      ((compared.theirs.ttl ?? 0) <= 0 || /max-stale/.test(String(wishes(compared.exchange)))) &&
      (compared.theirs.ttl ?? 0) <= 21,
  },
  {
    name: 'no-cache is about use, and leaves the lifetime as it is',
    why: 'RFC 9111 §5.2.2.4: no use without validation, whatever the lifetime or stale-while-revalidate (RFC 5861 §3) say.',
    holds: ({ exchange, ours, theirs }) =>
      directives(exchange).includes('no-cache') && ours.isStored && theirs.isStored && ours.use === 'forward',
  },
  {
    name: 'Pragma in a response means nothing',
    why: 'RFC 9111 §5.4 gives it a meaning in requests alone.',
    holds: ({ exchange, ours, theirs }) =>
      exchange.response.pragma !== undefined &&
      exchange.response['cache-control'] === undefined &&
      ours.isStored &&
      theirs.isStored &&
      (theirs.ttl ?? 0) <= 0,
  },
  {
    name: 'a guessed lifetime is counted from now, and from Date there',
    why: 'RFC 9111 §4.2.2 leaves the guess to the cache.',
    holds: ({ exchange, ours, theirs }) =>
      !directives(exchange).some((name) => /^(?:s-maxage|max-age)\b/.test(name)) &&
      exchange.response['last-modified'] !== undefined &&
      ours.use === theirs.use &&
      // Includes the age from Date, which http-cache-semantics does not count.
      Math.abs((ours.ttl ?? 0) - (theirs.ttl ?? 0)) <= 21,
  },
  {
    name: 'a request with bounds is not served stale',
    why: 'RFC 9111 §5.2.1.1 and §5.2.1.3: unless max-stale says so, it takes nothing stale.',
    holds: ({ exchange, ours, theirs }) =>
      ['forward', 'stand-in'].includes(ours.use) &&
      theirs.use === 'while-revalidate' &&
      /max-age|min-fresh/.test(String(wishes(exchange))),
  },
  {
    name: 'must-understand takes the place of no-store',
    why: 'RFC 9111 §5.2.2.3: no-store beside it is for caches that do not know the status.',
    holds: ({ exchange, ours, theirs }) =>
      ours.isStored &&
      !theirs.isStored &&
      directives(exchange).includes('must-understand') &&
      directives(exchange).includes('no-store'),
  },
];
