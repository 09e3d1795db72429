// A JSON schema as one reads it: an object with its names and what stands at each, `?` where it may be left out. What a
// schema says of itself stands beside it; `told(name, english)` puts it into words.

export function sketch(schema, named, told, indent = "") {
  if (schema.$ref) return sketch(found(schema, named), named, told, indent);
  const either = schema.oneOf || schema.anyOf;
  if (either) return plain(either).map((one) => sketch(one, named, told, indent)).join(" | ");
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  const types = [schema.type || "any"].flat().filter((type) => type !== "null");
  return types.map((type) => typed(type, schema, named, told, indent)).join(" | ");
}

// null says what leaving it out says.
const plain = (schemas) => schemas.filter(({ type }) => type !== "null");
const found = (schema, named) => (schema.$ref ? named[schema.$ref.split("/").pop()] : schema);
const most = (count) => (count === undefined ? "" : ` ≤ ${count}`);

function typed(type, schema, named, told, indent) {
  if (type === "array") return `[${sketch(schema.items || {}, named, told, indent)}, …]${most(schema.maxItems)}`;
  if (type === "object") return object(schema, named, told, indent);
  const { minimum, exclusiveMinimum, maximum, maxLength } = schema;
  const least = minimum !== undefined ? ` ≥ ${minimum}` : exclusiveMinimum !== undefined ? ` > ${exclusiveMinimum}` : "";
  return `${type}${least}${most(maxLength ?? maximum)}`;
}

function object(schema, named, told, indent) {
  const within = Object.entries(schema.properties || {}), inner = `${indent}  `;
  if (!within.length) return "{…}";
  const lines = within.map(([name, one], index) => {
    const left = (schema.required || []).includes(name) ? "" : "?", comma = index < within.length - 1 ? "," : "";
    const line = `${inner}"${name}"${left}: ${sketch(one, named, told, inner)}${comma}`;
    const english = found(one, named).description ?? found(one.items || {}, named).description;
    return english ? line.replace(/\n|$/, (end) => `  // ${told(name, english)}${end}`) : line;
  });
  return `{\n${lines.join("\n")}\n${indent}}`;
}
