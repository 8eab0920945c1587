import type { Request } from 'express';
import { Problem } from './problems.js';

type Query = Request['query'];

/**
 * One value of a query parameter, or none. A duplicate name is an error, because neither value may silently
 * win.
 */
export function textParameter(query: Query, name: string, maxLength = 100): string | undefined {
  const value = query[name];
  if (value === undefined) return undefined;
  if (typeof value !== 'string') throw invalid(`"${name}" may be given once.`);
  if (value.length > maxLength) throw invalid(`"${name}" may have up to ${maxLength} characters.`);
  // PostgreSQL's text cannot contain this character and would return an error.
  if (value.includes('\0')) throw invalid(`"${name}" has a character that is not text.`);
  return value;
}

/** A whole number from `min` to `max`, written in digits only. */
export function integerParameter(query: Query, name: string, min: number, max: number): number | undefined {
  const text = textParameter(query, name);
  return text === undefined ? undefined : wholeNumber(text, `"${name}"`, min, max);
}

/** The id in a path. */
export function idFrom(text: string | string[] | undefined): number {
  return wholeNumber(typeof text === 'string' ? text : '', 'The id', 1, 2_147_483_647);
}

function wholeNumber(text: string, what: string, min: number, max: number): number {
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw invalid(`${what} must be a whole number from ${min} to ${max}.`);
}

/** The fields of a write; an absent field is not changed. */
export interface ProductInput {
  name?: string;
  description?: string;
  priceCents?: number;
  stock?: number;
  category?: string;
}

const FIELDS: Readonly<Record<keyof ProductInput, (value: unknown) => boolean>> = {
  name: (value) => isText(value, 1, 200),
  description: (value) => isText(value, 0, 2_000),
  priceCents: (value) => isInteger(value, 1, 100_000_000),
  stock: (value) => isInteger(value, 0, 1_000_000),
  category: (value) => isText(value, 1, 50),
};

/** Reads a product from a JSON body: only known fields, each of the right type. */
export function productInput(body: unknown): ProductInput {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw invalid('The body must be a JSON object, sent as application/json.');
  }
  for (const [name, value] of Object.entries(body)) {
    if (!Object.hasOwn(FIELDS, name)) {
      throw invalid(`Unknown field "${name.slice(0, 50)}". Known: ${Object.keys(FIELDS).join(', ')}.`);
    }
    if (!FIELDS[name as keyof ProductInput](value))
      throw invalid(`The value of "${name}" is not acceptable.`);
  }
  return body;
}

/** A 400 that says what is accepted. */
export function invalid(detail: string): Problem {
  return new Problem(400, 'Bad Request', detail);
}

function isText(value: unknown, min: number, max: number): boolean {
  return typeof value === 'string' && value.length >= min && value.length <= max && !value.includes('\0');
}

function isInteger(value: unknown, min: number, max: number): boolean {
  return Number.isInteger(value) && (value as number) >= min && (value as number) <= max;
}
