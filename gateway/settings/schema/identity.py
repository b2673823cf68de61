"""Options of signed users: which tokens are accepted, and which attributes they give."""

from typing import Annotated, Literal

from gateway.settings.schema.base import Section
from gateway.settings.schema.option import option

Users = Literal["open", "signed"]
SignatureAlgorithm = Literal["HS256", "HS384", "HS512", "RS256", "ES256", "EdDSA"]


class IdentityKey(Section, frozen=True):
    """One key, or the address of a key set; exactly one of its sources is set."""

    kid: Annotated[
        str, option("Id of the key; a token that names another key is not checked by this one. Empty: any.")
    ] = ""
    alg: Annotated[
        SignatureAlgorithm | None,
        option("The only algorithm that this key is used with; of a key set, empty means that of each key."),
    ] = None
    secret: Annotated[
        str,
        option("Secret of HS256 (at least 32 bytes), HS384 (48) or HS512 (64).", hidden="all"),
    ] = ""
    secret_file: Annotated[str, option("File with the secret, without white space around it.")] = ""
    public_key: Annotated[str, option("Public key of RS256, ES256 or EdDSA in PEM.")] = ""
    public_key_file: Annotated[str, option("File with the public key in PEM.")] = ""
    jwks_url: Annotated[
        str,
        option(
            "Address of the issuer's key set (JWKS), fetched every 15 minutes and, if a token names an unknown key, at"
            " most once a minute.",
            hidden="userinfo",
        ),
    ] = ""


class Identity(Section, frozen=True):
    """Tokens (JWT) that prove who a user is; used by routes with `users: signed`."""

    keys: Annotated[
        list[IdentityKey],
        option(
            "Keys that tokens are checked with, up to 20.",
            example="[{kid: k1, alg: ES256, public_key_file: /etc/flaggateway/id.pem}]",
        ),
    ] = []
    issuer: Annotated[
        str, option("What the claim `iss` must be; empty: not checked.", example="https://id.example.com")
    ] = ""
    audience: Annotated[str, option("What the claim `aud` must contain; empty: not checked.", example="flags")] = ""
    leeway: Annotated[
        float,
        option(
            "Seconds by which the clocks of issuer and gateway may differ: a token ends that much later.", ge=0, le=600
        ),
    ] = 60
    claims: Annotated[
        dict[str, str],
        option(
            "Claims that become user attributes, by claim; empty means `{sub: Identifier}`.",
            example="{sub: Identifier, email: Email, country: Country}",
        ),
    ] = {}
    open_attributes: Annotated[
        list[str],
        option(
            "Attributes that are taken from the request if the token does not determine them; all others in requests"
            " are ignored.",
            example="[Theme, Language]",
        ),
    ] = []
    ca_file: Annotated[str, option("PEM file of certificate authorities to trust for key sets.")] = ""

    @property
    def attributes(self) -> dict[str, str]:
        """The attribute of each claim that is used."""
        return self.claims or {"sub": "Identifier"}
