/** One member of the list: a coding, and its weight if it has one. RFC 9110 §12.4.2, §12.5.3. */
const MEMBER = /^([!#$%&'*+.^_`|~\w-]+)(?:[ \t]*;[ \t]*q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?))?$/i;

/**
 * Chooses a content coding for a response (RFC 9110 §12.5.3).
 *
 * The coding with the highest weight wins; among equals the one offered first. An invalid member is ignored, and so is
 * a second member for the same coding. A request without the field gets no coding, although the RFC allows any, because
 * such a client may not be able to decode.
 *
 * @param header the field's value, several lines joined by commas.
 * @param offered the codings that are available, the preferred one first, in lower case.
 * @returns the coding; `undefined` for none (identity).
 */
export function chooseEncoding<Coding extends string>(
  header: string | undefined,
  offered: readonly Coding[],
): Coding | undefined {
  if (!header) return undefined;
  const weights = weightsOf(header);
  const any = weights.get('*') ?? 0;
  // Unlisted, identity is acceptable but has no preference.
  const identity = weights.get('identity') ?? 0;
  let best: Coding | undefined;
  let bestWeight = 0;
  for (const coding of offered) {
    const weight = weights.get(coding) ?? any;
    if (weight > bestWeight && weight >= identity) {
      best = coding;
      bestWeight = weight;
    }
  }
  return best;
}

/**
 * Whether the plain body is acceptable (RFC 9110 §12.5.3): unless its name or `*` excludes it.
 *
 * @param header the field's value, several lines joined by commas.
 */
export function acceptsIdentity(header: string | undefined): boolean {
  if (!header) return true;
  const weights = weightsOf(header);
  return (weights.get('identity') ?? weights.get('*')) !== 0;
}

function weightsOf(header: string): Map<string, number> {
  const weights = new Map<string, number>();
  for (const member of header.split(',')) {
    const match = MEMBER.exec(member.trim());
    if (!match) continue;
    const name = match[1]!.toLowerCase();
    // RFC 9110 §8.4.1.3: the old name of the same coding.
    const coding = name === 'x-gzip' ? 'gzip' : name;
    if (!weights.has(coding)) weights.set(coding, match[2] === undefined ? 1 : Number(match[2]));
  }
  return weights;
}
