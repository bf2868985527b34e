package attack

import "os"

// Variables hold keys and tokens. What the policy does not name stays outside.
var secretVariable = Attack{
	Name: "environment", Group: "knowledge", Reference: "environ(7)",
	Tries: "read a variable of the caller's that holds a secret",
	Stops: []Stop{{environmentRules, Hidden}},
	Outside: func(o *Outside) error {
		o.Env = append(o.Env, secretName+"="+o.Secret)
		return nil
	},
	Inside: func(in *Inside) error {
		v, ok := os.LookupEnv(secretName)
		if !ok {
			return NotFound("the variable")
		}
		in.Take([]byte(v))
		return nil
	},
}

const secretName = "CLOCHE_ATTACK_TOKEN"

var environmentRules = &Layer{Name: "rules of the environment", Off: []string{"env " + secretName}}
