import { dependsOnHeaders, isPublicResponse } from '../cache/lookup/lookup.js';
import type { CacheRuleSettings } from '../cache/options.js';
import { hasRequestFunctions } from '../cache/request/rule-functions.js';
import { isEntityTag } from '../http/entity-tag.js';
import { type Compact, compactOf } from '../store/compact-response.js';
import type { Prepared, StoredResponse } from '../store/stored-response.js';
import type { FastPathDependencies } from './dependencies.js';
import type { HeadTemplate } from './head-template.js';

/** Objects of one head, beside its text; measured. Bytes. */
const OVERHEAD = 400;

/** Kinds that are remembered of one form: one more for each value of a field by which its responses differ. */
const MOST_KINDS = 16;

/** Heads by what their lines depend on: first of the body, then of the request. */
interface HeadsByBody {
  empty: Map<string, HeadTemplate> | undefined;
  /** Below the threshold of compression. */
  short: Map<string, HeadTemplate> | undefined;
  /** Whatever its encoded forms are, for it is not compressed. */
  plain: Map<string, HeadTemplate> | undefined;
  /** There is an encoded form. */
  coded: Map<string, HeadTemplate> | undefined;
  /** An encoded form would gain too little. */
  useless: Map<string, HeadTemplate> | undefined;
  /** The body is not sent: a 304. */
  held: Map<string, HeadTemplate> | undefined;
}

/**
 * What has been worked out of an entry for its next use. Most of it is the same for all responses of a route, and kept
 * once for all of them: those of one form and one rule, with the same fields, but for dates and entity tags.
 */
export class HeadGroup implements Prepared {
  readonly rule: CacheRuleSettings | undefined;
  /** Such an entry may be served in front of the app. */
  readonly isPublic: boolean;
  /** It is served there only where no middleware before hotpath may change the headers that it depends on. */
  readonly dependsOnHeaders: boolean;
  /** Such an entry may be served without asking anyone. */
  readonly isServed: boolean;
  /** There may be others of it. */
  readonly isShared: boolean;
  /** Where it is one entry's alone, whose memory it counts to. */
  bytes = 0;
  readonly #threshold: number;
  readonly #heads: HeadsByBody = {
    empty: undefined,
    short: undefined,
    plain: undefined,
    coded: undefined,
    useless: undefined,
    held: undefined,
  };

  constructor(entry: StoredResponse, { rule, threshold, isBySettings }: RuleLookup, isShared: boolean) {
    this.rule = rule || undefined;
    this.isServed = isBySettings && rule !== false && !(rule && hasRequestFunctions(rule)) && !entry.upstream;
    this.isPublic = this.isServed && isPublicResponse(entry, this.rule);
    this.dependsOnHeaders = dependsOnHeaders(entry, this.rule);
    this.isShared = isShared;
    this.#threshold = threshold;
    if (!isShared) this.bytes = OVERHEAD;
  }

  /**
   * The head of a whole answer.
   *
   * @param variation what it differs by, beside the coding that the client accepts.
   */
  whole(entry: StoredResponse, coding: string, variation: string): HeadTemplate | undefined {
    const { length } = entry.body;
    const { empty, short, plain, coded, useless } = this.#heads;
    if (length === 0) return empty?.get(variation);
    if (length < this.#threshold) return short?.get(variation);
    const head = plain?.get(variation);
    if (head || coding === '') return head;
    const form = entry.encoded?.get(coding)?.body;
    if (form === undefined) return undefined;
    return (form ? coded : useless)?.get(variation);
  }

  /** @param variation what the head of a 304 differs by. */
  notModified(variation: string): HeadTemplate | undefined {
    return this.#heads.held?.get(variation);
  }

  /** @param isAsked whether an encoded form was asked for. */
  keep(entry: StoredResponse, variation: string, head: HeadTemplate, isAsked: boolean): void {
    const place = this.#placeOf(entry.body.length, head, isAsked);
    this.#heads[place] ??= new Map();
    const heads = this.#heads[place];
    const before = heads.get(variation);
    heads.set(variation, head);
    if (!this.isShared) this.bytes += sizeOfHead(head) - (before ? sizeOfHead(before) : 0);
  }

  #placeOf(length: number, { status, coded }: HeadTemplate, isAsked: boolean): keyof HeadsByBody {
    if (status === 304) return 'held';
    if (length === 0) return 'empty';
    if (length < this.#threshold) return 'short';
    if (!isAsked) return 'plain';
    return coded ? 'coded' : 'useless';
  }
}

function sizeOfHead({ length }: HeadTemplate): number {
  return OVERHEAD + length;
}

/** What of the config applies to an entry. */
interface RuleLookup {
  readonly rule: CacheRuleSettings | false | undefined;
  /** Shorter bodies are not compressed. Bytes. */
  readonly threshold: number;
  /** Nothing is to be asked about each request. */
  readonly isBySettings: boolean;
}

interface GroupForm {
  readonly kind: HeadGroup;
  /** The policy of the path that was asked for, and of that under which it is stored: almost always the same. */
  readonly policies: readonly [asked: unknown, stored: unknown];
  readonly values: Compact['values'];
}

/** Tells which kind an entry is of. */
export class HeadGroups {
  readonly #parts: FastPathDependencies;
  readonly #known = new WeakMap<object, GroupForm[]>();

  constructor(parts: FastPathDependencies) {
    this.#parts = parts;
  }

  of(entry: StoredResponse, target: string): HeadGroup {
    const { hits } = this.#parts;
    const asked = hits.policyOf(target);
    const stored = hits.policyOf(entry.url);
    const compact = this.#isRegular(entry) ? compactOf(entry) : undefined;
    const known = compact && this.#knownOf(compact.form);
    const found = known?.find(
      ({ policies, values }) =>
        policies[0] === asked &&
        policies[1] === stored &&
        isAlike(values, compact!.values, compact!.form.names),
    );
    if (found) return found.kind;
    const isShared = known !== undefined && known.length < MOST_KINDS;
    const kind = this.#make(entry, asked?.cache, isShared);
    if (isShared) known.push({ kind, policies: [asked, stored], values: compact!.values });
    return kind;
  }

  /** One for this entry alone. */
  alone(entry: StoredResponse, { rule }: HeadGroup): HeadGroup {
    return this.#make(entry, rule, false);
  }

  #make(entry: StoredResponse, rule: RuleLookup['rule'], isShared: boolean): HeadGroup {
    const { compression } = this.#parts;
    const threshold = compression?.thresholdOf(entry.path) ?? Number.POSITIVE_INFINITY;
    return new HeadGroup(
      entry,
      { rule, threshold, isBySettings: compression?.isBySettings !== false },
      isShared,
    );
  }

  /** Its date and its entity tag are what they are called: what is made of them is made as of others. */
  #isRegular({ date, etag }: StoredResponse): boolean {
    return this.#parts.state.dates.parse(date) !== undefined && isEntityTag(etag);
  }

  #knownOf(form: object): GroupForm[] {
    let known = this.#known.get(form);
    if (!known) this.#known.set(form, (known = []));
    return known;
  }
}

/** Whether two responses of one form have the same fields, but for the one that has a slot. */
function isAlike(a: Compact['values'], b: Compact['values'], names: readonly string[]): boolean {
  return a.every((lines, at) => {
    const others = b[at]!;
    if (lines === others) return true;
    if (typeof lines === 'string' || typeof others === 'string')
      return typeof lines === typeof others && names[at]!.toLowerCase() === 'last-modified';
    return lines.length === others.length && lines.every((line, i) => line === others[i]);
  });
}
