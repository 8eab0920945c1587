import { dependsOnHeaders, isPublicResponse } from '../cache/lookup/lookup.js';
import type { CacheRuleSettings } from '../cache/options.js';
import { hasRequestFunctions } from '../cache/request/rule-functions.js';
import { isEntityTag } from '../http/entity-tag.js';
import type { MetricsRoutePolicies } from '../middleware/metrics/options.js';
import type { RequestLogRoutePolicies } from '../middleware/request-log/options.js';
import type { TimingRoutePolicies } from '../middleware/timing/options.js';
import { type Compact, compactOf } from '../store/compact-response.js';
import type { Prepared, StoredResponse } from '../store/stored-response.js';
import type { FastPathDependencies } from './dependencies.js';
import type { HeadTemplate } from './head-template.js';

/** Memory of one head besides its text; measured. Bytes. */
const OVERHEAD = 400;

/** Groups per compact form; each value of a field that differs makes another group. */
const MOST_GROUPS = 16;

/** Heads by the properties of body and request that their lines depend on. */
interface HeadsByBody {
  empty: Map<string, HeadTemplate> | undefined;
  /** The body is shorter than the compression threshold. */
  short: Map<string, HeadTemplate> | undefined;
  /** The body is never compressed. */
  plain: Map<string, HeadTemplate> | undefined;
  /** The body has an encoded form. */
  coded: Map<string, HeadTemplate> | undefined;
  /** Encoding the body saves too little. */
  barelyCompressible: Map<string, HeadTemplate> | undefined;
  /** A 304, without a body. */
  notModified: Map<string, HeadTemplate> | undefined;
}

/**
 * Prepared heads of entries. Entries share a group if they have the same rule and compact form, and the same fields
 * except dates and entity tags. Most entries of a route do.
 */
export class HeadGroup implements Prepared {
  readonly rule: CacheRuleSettings | undefined;
  /** Its entries may be served before Express. */
  readonly isPublic: boolean;
  /** Its entries are served before Express only if no middleware before hotpath can change request headers. */
  readonly dependsOnHeaders: boolean;
  /** Its entries may be served without running a function of the app. */
  readonly isServed: boolean;
  /** Several entries may share the group. */
  readonly isShared: boolean;
  /** The memory of an unshared group, which counts towards its entry. */
  bytes = 0;
  readonly #threshold: number;
  readonly #heads: HeadsByBody = {
    empty: undefined,
    short: undefined,
    plain: undefined,
    coded: undefined,
    barelyCompressible: undefined,
    notModified: undefined,
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
   * The head of a response with its body.
   *
   * @param variation the request properties that it depends on, besides the accepted coding.
   */
  whole(entry: StoredResponse, coding: string, variation: string): HeadTemplate | undefined {
    const { length } = entry.body;
    const { empty, short, plain, coded, barelyCompressible } = this.#heads;
    if (length === 0) return empty?.get(variation);
    if (length < this.#threshold) return short?.get(variation);
    const head = plain?.get(variation);
    if (head || coding === '') return head;
    const form = entry.encoded?.get(coding)?.body;
    if (form === undefined) return undefined;
    return (form ? coded : barelyCompressible)?.get(variation);
  }

  /** The head of a 304. @param variation the request properties that it depends on. */
  notModified(variation: string): HeadTemplate | undefined {
    return this.#heads.notModified?.get(variation);
  }

  /** @param isAsked whether the compression middleware looked for an encoded body. */
  keep(entry: StoredResponse, variation: string, head: HeadTemplate, isAsked: boolean): void {
    const place = this.#placeOf(entry.body.length, head, isAsked);
    this.#heads[place] ??= new Map();
    const heads = this.#heads[place];
    const before = heads.get(variation);
    heads.set(variation, head);
    if (!this.isShared) this.bytes += sizeOfHead(head) - (before ? sizeOfHead(before) : 0);
  }

  #placeOf(length: number, { status, coded }: HeadTemplate, isAsked: boolean): keyof HeadsByBody {
    if (status === 304) return 'notModified';
    if (length === 0) return 'empty';
    if (length < this.#threshold) return 'short';
    if (!isAsked) return 'plain';
    return coded ? 'coded' : 'barelyCompressible';
  }
}

function sizeOfHead({ length }: HeadTemplate): number {
  return OVERHEAD + length;
}

/** The part of the config that applies to an entry. */
interface RuleLookup {
  readonly rule: CacheRuleSettings | false | undefined;
  /** Shorter bodies are not compressed. Bytes. */
  readonly threshold: number;
  /** Compression depends on settings only, and not on a filter function; timing and metrics are on for the route. */
  readonly isBySettings: boolean;
}

type ObservedRoutePolicies = MetricsRoutePolicies & TimingRoutePolicies & RequestLogRoutePolicies;

interface GroupForm {
  readonly group: HeadGroup;
  /** The policies of the requested and of the stored URL, which are almost always the same. */
  readonly policies: readonly [asked: unknown, stored: unknown];
  readonly values: Compact['values'];
}

/** Finds or creates the group of an entry. */
export class HeadGroups {
  readonly #parts: FastPathDependencies;
  readonly #groups = new WeakMap<object, GroupForm[]>();

  constructor(parts: FastPathDependencies) {
    this.#parts = parts;
  }

  of(entry: StoredResponse, target: string): HeadGroup {
    const { hits } = this.#parts;
    const asked = hits.policyOf(target);
    const stored = hits.policyOf(entry.url);
    const compact = this.#isRegular(entry) ? compactOf(entry) : undefined;
    const known = compact && this.#groupsOf(compact.form);
    const found = known?.find(
      ({ policies, values }) =>
        policies[0] === asked &&
        policies[1] === stored &&
        isAlike(values, compact!.values, compact!.form.names),
    );
    if (found) return found.group;
    const isShared = known !== undefined && known.length < MOST_GROUPS;
    const group = this.#make(entry, asked?.cache, isShared);
    if (isShared) known.push({ group, policies: [asked, stored], values: compact!.values });
    return group;
  }

  /** A group for this entry only. */
  alone(entry: StoredResponse, { rule }: HeadGroup): HeadGroup {
    return this.#make(entry, rule, false);
  }

  #make(entry: StoredResponse, rule: RuleLookup['rule'], isShared: boolean): HeadGroup {
    const { compression, hits } = this.#parts;
    const threshold = compression?.thresholdOf(entry.path) ?? Number.POSITIVE_INFINITY;
    const policies = hits.policyOf(entry.url) as ObservedRoutePolicies | undefined;
    const isLogged = !this.#parts.log || policies?.log !== false;
    const isObserved = policies?.metrics !== false && policies?.timing !== false && isLogged;
    return new HeadGroup(
      entry,
      { rule, threshold, isBySettings: isObserved && compression?.isBySettings !== false },
      isShared,
    );
  }

  /** Whether date and entity tag are well-formed, so that a template can hold slots for them. */
  #isRegular({ date, etag }: StoredResponse): boolean {
    return this.#parts.state.dates.parse(date) !== undefined && isEntityTag(etag);
  }

  #groupsOf(form: object): GroupForm[] {
    let known = this.#groups.get(form);
    if (!known) this.#groups.set(form, (known = []));
    return known;
  }
}

/** Whether two responses of one form have the same fields, except `Last-Modified`, which has a slot. */
function isAlike(a: Compact['values'], b: Compact['values'], names: readonly string[]): boolean {
  return a.every((lines, at) => {
    const others = b[at]!;
    if (lines === others) return true;
    if (typeof lines === 'string' || typeof others === 'string')
      return typeof lines === typeof others && names[at]!.toLowerCase() === 'last-modified';
    return lines.length === others.length && lines.every((line, i) => line === others[i]);
  });
}
